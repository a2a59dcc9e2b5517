"""Public names of the engines: workers in this process, or processes of their own on Ray."""

from gaa_core.distributed import RayEngine
from gaa_core.engine import ABSENCES, Answers, Engine, LocalEngine, Training

__all__ = ["ABSENCES", "Answers", "Engine", "LocalEngine", "RayEngine", "Training"]
