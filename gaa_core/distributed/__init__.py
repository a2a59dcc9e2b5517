"""More than one machine: a Ray engine and a Flower strategy. Optional; nothing below imports this folder."""

from gaa_core.distributed.faults import Fault
from gaa_core.distributed.local_cluster import LocalCluster
from gaa_core.distributed.ray import RayEngine

__all__ = ["Fault", "LocalCluster", "RayEngine"]
