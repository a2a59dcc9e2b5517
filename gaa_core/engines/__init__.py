"""Engines: where the workers' gradients come from."""

from gaa_core.engines.base import ABSENCES, Answers, Engine
from gaa_core.engines.faults import Fault
from gaa_core.engines.flat import FlatModel
from gaa_core.engines.local import LocalEngine
from gaa_core.engines.local_cluster import LocalCluster
from gaa_core.engines.ray import RayEngine

__all__ = ["ABSENCES", "Answers", "Engine", "Fault", "FlatModel", "LocalCluster", "LocalEngine", "RayEngine"]
