"""Engines: where the workers' gradients come from."""

from gaa_core.engines.flat import FlatModel
from gaa_core.engines.local import LocalEngine

__all__ = ["FlatModel", "LocalEngine"]
