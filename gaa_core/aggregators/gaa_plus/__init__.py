"""GAAPlus: the hardened agent (ours)."""

from gaa_core.aggregators.gaa_plus.gaa_plus import GAAPlus

__all__ = ["GAAPlus"]
