"""Gradient reversion: walk uphill."""

from dataclasses import dataclass

from gaa_core.attacks.base import Attack


@dataclass(frozen=True)
class GradientReversion(Attack):
    """-scale times the worker's own honest gradient. Scale 1 is the reconstruction's; larger ones are ours."""

    source = "reconstruction (scale 1); larger scales: ours"
    colludes = False

    scale: float = 1.0

    def forge(self, own, honest, generator):
        return own * -self.scale
