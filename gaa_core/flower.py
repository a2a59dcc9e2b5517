"""Public name of the Flower strategy."""

from gaa_core.distributed.flower import GAAStrategy

__all__ = ["GAAStrategy"]
