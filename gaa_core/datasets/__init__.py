"""Where data comes from and how it is read safely. Loading never downloads; `fetch` does, when a person asks for it."""

from gaa_core.datasets.fetching import fetch
from gaa_core.datasets.sources import Source, cache_folder, data_folder, fingerprint, locate, stamp

__all__ = ["Source", "cache_folder", "data_folder", "fetch", "fingerprint", "locate", "stamp"]
