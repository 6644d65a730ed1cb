"""Frames of each exchange, one a file, written after the exchanges' documentation; and recorded ones."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

FRAMES = Path(__file__).resolve().parent
ROOT = FRAMES.parent.parent


def _captures() -> Path:
    """``shared/captures`` beside the repository, or beside the folder that holds its worktrees."""
    beside = [folder / "shared" / "captures" for folder in ROOT.parents[:2]]
    return next((folder for folder in beside if folder.is_dir()), beside[0])


CAPTURES = _captures()


def frame(exchange: str, name: str) -> bytes:
    """The frame ``name`` of ``exchange``, as its binary or text message holds it."""
    return (FRAMES / exchange / f"{name}.json").read_bytes().strip()


def all_frames(exchange: str) -> list[bytes]:
    """Every frame of the exchange's folder, in the order of the file names; the compressed ones at the end."""
    texts = [path.read_bytes().strip() for path in sorted((FRAMES / exchange).glob("*.json"))]
    return texts + [path.read_bytes() for path in sorted((FRAMES / exchange).glob("*.gz"))]


def captured(path: Path) -> Iterator[tuple[str | bytes, int]]:
    """The recorded frames with their arrival in epoch microseconds."""
    with path.open() as lines:
        for line in lines:
            entry = json.loads(line)
            text = entry.get("frame")
            yield (text if text is not None else base64.b64decode(entry["b64"])), round(entry["t"] * 1e6)
