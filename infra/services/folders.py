"""Where downloaded servers and their data are kept: the user's cache folder, by the platform's convention."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

CACHE_VARIABLE = "GATEWAY_CACHE_DIR"


def cache_folder(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """The gateway's cache folder (it need not exist yet); ``GATEWAY_CACHE_DIR`` overrides it.

    Linux and others: ``$XDG_CACHE_HOME`` or ``~/.cache`` (XDG Base Directory Specification); macOS:
    ``~/Library/Caches``; Windows: ``%LOCALAPPDATA%``.
    """
    if override := environ.get(CACHE_VARIABLE):
        return Path(override).expanduser().absolute()
    if platform == "win32":
        base = Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        configured = environ.get("XDG_CACHE_HOME", "")
        # The specification says that a relative path there is to be ignored.
        base = Path(configured) if configured.startswith("/") else Path.home() / ".cache"
    return base / "streamgateway"
