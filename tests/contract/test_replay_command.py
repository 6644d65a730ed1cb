"""``gateway replay`` as a user runs it."""

import base64
import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from infra.cli import app
from tests.frames import CAPTURES, frame

DEPTH = {"e": "depthUpdate", "E": 1793604700000, "s": "BTCUSDT", "b": [["9.0", "1.0"]], "a": []}


def line(text: str | bytes, t: float = 1793604700.5, conn: str = "a") -> str:
    held = (
        {"frame": text} if isinstance(text, str) else {"b64": base64.b64encode(text).decode(), "enc": "utf-8"}
    )
    return json.dumps({"t": t, "conn": conn, **held}) + "\n"


def depth(first: int, last: int) -> str:
    return json.dumps({"stream": "btcusdt@depth@100ms", "data": {**DEPTH, "U": first, "u": last}})


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["replay", *map(str, arguments)])


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Trades, a book with a gap, what is ignored, and two connections with the same symbol."""
    lines = [
        line(frame("binance", "trade").decode()),
        line(frame("binance", "trade"), conn="b"),
        line(frame("binance", "kline").decode()),
        line(frame("binance", "acknowledged").decode()),
        *(line(depth(first, last)) for first, last in [(5, 6), (7, 7), (9, 9), (10, 10), (20, 21)]),
        line(depth(700, 701), conn="b"),
        "\n",
    ]
    path = tmp_path / "binance.jsonl"
    path.write_text("".join(lines))
    return path


def test_the_counts_as_json(recording: Path) -> None:
    result = run(recording, "--exchange", "binance", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "frames": 10,
        "records": {"trade": 2, "orderbook": 6},
        "controls": 1,
        "ignored": {"kline": 1},
        "errors": 0,
        "gaps": 2,
    }


def test_the_table_and_the_records(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "records.jsonl"
    result = run(recording, "--exchange", "binance", "--records", out)
    assert result.exit_code == 0
    for words in ("frames", "records: trade", "ignored: kline", "gaps", "records/s"):
        assert words in result.stdout
    records: list[dict[str, Any]] = [json.loads(text) for text in out.read_text().splitlines()]
    assert [record["type"] for record in records] == ["trade", "trade"] + ["orderbook"] * 6
    assert [record["sequence"] for record in records] == [1, 1, 1, 2, 3, 4, 5, 1]
    assert records[2]["bids"] == [{"price": 9.0, "quantity": 1.0}]
    assert (records[2]["first_update_id"], records[2]["valid"]) == (5, False)
    assert records[0]["received_ts_us"] == 1793604700500000


def test_a_packed_file_is_read_the_same(recording: Path, tmp_path: Path) -> None:
    packed = tmp_path / "binance.jsonl.gz"
    packed.write_bytes(gzip.compress(recording.read_bytes()))
    plain, same = (run(path, "--exchange", "binance", "--json").stdout for path in (recording, packed))
    assert json.loads(plain) == json.loads(same)


def test_a_frame_that_cannot_be_read_is_an_error_and_the_rest_goes_on(recording: Path) -> None:
    with recording.open("a") as file:
        file.write(line("{") + line(depth(22, 23)))
    result = run(recording, "--exchange", "binance", "--json")
    assert result.exit_code == 1
    counts = json.loads(result.stdout)
    assert (counts["errors"], counts["frames"], counts["records"]["orderbook"]) == (1, 12, 7)
    assert "gateway: " in result.stderr


@pytest.mark.parametrize(
    ("content", "exchange", "words"),
    [
        (None, "binance", "No such file"),
        (b"", "binance", "no frame"),
        (b"{}\n", "binance", "line 1"),
        (line("x").encode() + b'{"t":1,"conn":"a"}\n', "binance", "line 2: neither frame nor b64"),
        (b'{"t":1,"b64":"!!!"}\n', "binance", "line 1"),
        (line("{}").encode() + line("{}", t=1e300).encode(), "binance", "line 2: Expected `float` <="),
        (line("{}", t=-5).encode(), "binance", "line 1: Expected `float` >= 0"),
        (b'{"t":NaN,"frame":"{}"}\n', "binance", "line 1"),
        (b'{"t":1e999,"frame":"{}"}\n', "binance", "line 1"),
        (b'{"t":' + b"9" * 400 + b',"frame":"{}"}\n', "binance", "line 1"),
        (b'{"t":1,"b64":"QUJD","enc":"rot13"}\n', "binance", "line 1: Invalid enum value 'rot13'"),
        (b"[" * 100_000 + b"\n", "binance", "line 1"),
        (b'{"t":1,"frame":"{}","more":' + b"[" * 100_000 + b"\n", "binance", "line 1"),
        (gzip.compress(line("{}").encode() * 50, mtime=0)[:-9], "binance", "line"),
        (line("{}").encode(), "nowhere", "not one this gateway speaks to"),
    ],
)
def test_wrong_use_is_one_line(tmp_path: Path, content: bytes | None, exchange: str, words: str) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    result = run(path, "--exchange", exchange, "--records", tmp_path / "records.jsonl")
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_line_without_end_in_a_packed_file_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(line("{}").encode())
        for _ in range(400):
            file.write(b" " * 1_000_000)
    tracemalloc.start()
    result = run(path, "--exchange", "binance")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result.exit_code == 2
    assert f"{path}, line 2: it is longer than 67108864 bytes" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert peak < 250_000_000


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="the recorded frames are not at hand")
@pytest.mark.parametrize("exchange", ["upbit", "binance"])
def test_recordings_replay_clean(exchange: str) -> None:
    result = run(CAPTURES / f"{exchange}.jsonl", "--exchange", exchange, "--json")
    counts = json.loads(result.stdout)
    assert (result.exit_code, counts["errors"], counts["gaps"]) == (0, 0, 0)
    total = sum(counts["records"].values()) + counts["controls"] + sum(counts["ignored"].values())
    assert counts["frames"] == total > 100


def test_levels_are_written_by_name_alone(tmp_path: Path) -> None:
    """Kraken's levels also hold the digits of which a checksum is made."""
    recording, out = tmp_path / "kraken.jsonl", tmp_path / "records.jsonl"
    recording.write_text(line(frame("kraken", "orderbook.snapshot").decode()))
    assert run(recording, "--exchange", "kraken", "--records", out).exit_code == 0
    (record,) = map(json.loads, out.read_text().splitlines())
    assert record["bids"]
    assert {tuple(level) for level in record["bids"] + record["asks"]} == {("price", "quantity")}


def test_a_frame_that_the_recorder_packed_is_read(tmp_path: Path) -> None:
    packed = base64.b64encode(gzip.compress(frame("binance", "trade"))).decode()
    path = tmp_path / "packed.jsonl"
    path.write_text(json.dumps({"t": 1793604700.5, "conn": "a", "b64": packed, "enc": "gzip"}) + "\n")
    result = run(path, "--exchange", "binance", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["records"] == {"trade": 1}


def test_a_recording_of_another_exchange_says_so_and_how_much_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "upbit.jsonl"
    path.write_text(line(frame("upbit", "trade").decode()) * 30)
    result = run(path, "--exchange", "bitfinex")
    assert result.exit_code == 1
    assert "… and 20 more" in result.stderr
    assert "is --exchange right?" in result.stderr
