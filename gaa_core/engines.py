"""Public names of the engines: workers in this process, or processes of their own on Ray."""

from gaa_core.distributed import Fault, LocalCluster, RayEngine
from gaa_core.engine import ABSENCES, Answers, Engine, LocalEngine

__all__ = ["ABSENCES", "Answers", "Engine", "Fault", "LocalCluster", "LocalEngine", "RayEngine"]
