"""Where data comes from and how it is read safely. Loading never downloads; `fetch` does, when a person asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gaa_core.datasets.sources import Source, cache_folder, data_folder, fingerprint, locate, stamp

__all__ = ["Source", "cache_folder", "data_folder", "fetch", "fingerprint", "locate", "stamp"]


def fetch(names: Iterable[str] = (), *, cache: Path | None = None, progress: bool = True) -> None:
    """Downloads official files into the cache (see `datasets.fetching`); no name means the four cases."""
    from gaa_core.datasets import fetching

    fetching.fetch(names, cache=cache, progress=progress)
