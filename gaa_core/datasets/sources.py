"""Where data is looked for: the folder named by GAA_DATA, then the cache that `fetch` fills. Downloads nothing.

Both are laid out as the publishers do (`MNIST/raw/...`, `cifar-10-batches-py/...`), so a cache can serve as GAA_DATA.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from gaa_core.errors import DataError


@dataclass(frozen=True)
class Source:
    """A folder that holds a case's data, and the name under which captions mention it."""

    folder: Path
    name: str  # "GAA_DATA" or "cache"


def data_folder() -> Path | None:
    """The folder named by GAA_DATA, or None when the variable is unset or empty."""
    name = os.environ.get("GAA_DATA", "")
    if not name:
        return None
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise DataError(f"GAA_DATA should name an existing folder; found '{name}', which is not one.")
    return folder


def cache_folder() -> Path:
    """The folder that `fetch` fills: GAA_CACHE, else ~/.cache/gaa_core. It need not exist yet."""
    name = os.environ.get("GAA_CACHE", "")
    return Path(name).expanduser() if name else Path.home() / ".cache" / "gaa_core"


def locate(*names: str) -> Source | None:
    """The first of these files or folders in GAA_DATA, else in the cache; None means: use what is packaged."""
    for folder, source in ((data_folder(), "GAA_DATA"), (cache_folder(), "cache")):
        for name in names:
            if folder is not None and (folder / name).exists():
                return Source(folder / name, source)
    return None


def stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of a folder's files (or of one file): a cheap sign that the data on disk has changed."""
    files = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
    stats = [(str(file), file.stat()) for file in files if file.is_file()]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def fingerprint(*parts: bytes | str) -> str:
    """A short digest of the data itself, or of digests of its files."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\0")
    return digest.hexdigest()[:16]
