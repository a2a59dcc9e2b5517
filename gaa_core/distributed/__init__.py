"""More than one machine: a Ray engine here, a Flower strategy in `flower`. Optional; no module below imports this."""

from gaa_core.distributed.ray import RayEngine

__all__ = ["RayEngine"]
