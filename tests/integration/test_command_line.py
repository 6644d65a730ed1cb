"""The command line itself: what it lists is there, it imports what is called, Ctrl-C is quiet."""

import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from infra.cli import COMMANDS, app, load

START = "from infra.start import main; main()"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_of_itself_what_the_list_says(name):
    command = load(name)
    paragraphs = (command.help or "").split("\n\n")
    assert paragraphs[0] == COMMANDS[name]
    assert not any("\n" in paragraph or "``" in paragraph for paragraph in paragraphs)


def test_help_imports_no_command():
    script = (
        "import sys\nfrom infra.cli import app\ntry:\n    app(['--help'])\nfinally:\n"
        "    print(sorted(n for n in sys.modules if n.startswith(('infra.', 'confluent'))), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert all(name in done.stdout for name in COMMANDS)
    assert done.stderr.strip() == "['infra.cli', 'infra.start']"


def test_the_version_is_shown_and_an_unknown_command_is_wrong_use():
    assert CliRunner().invoke(app, ["--version"]).output.startswith("gateway ")
    assert CliRunner().invoke(app, ["dmeo"]).exit_code == 2


@pytest.mark.parametrize("module", ["typer", "infra.commandline.demo", "confluent_kafka.cimpl"])
def test_ctrl_c_during_the_imports_ends_quietly(module):
    """The signal comes while ``module`` is about to be imported."""
    script = f"""
import builtins, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
sys.argv = ["gateway", "demo"]
{START}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_ctrl_c_in_a_command_ends_quietly(tmp_path):
    script = f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import infra.commandline.replay as replay
replay.profile_of = lambda _name: os.kill(os.getpid(), signal.SIGINT)
sys.argv = ["gateway", "replay", {str(tmp_path)!r}, "--exchange", "upbit"]
{START}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 128 + signal.SIGINT
    assert "Traceback" not in done.stderr
