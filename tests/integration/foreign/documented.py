"""The snippets of ``docs/consumers.md``."""

import re
from pathlib import Path

_PAGE = Path(__file__).resolve().parents[3] / "docs" / "consumers.md"


def documented(language: str) -> list[str]:
    """The texts of the page's code blocks in a language, in their order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", _PAGE.read_text(), re.DOTALL | re.MULTILINE)
