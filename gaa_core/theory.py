"""Short statements about fixed and learned credits, measured: Proposition 1, regret, and the sign of the reward.

The first is the paper's; the bounds of the other two are ours, and derived in the notebook that shows them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.aggregators import LinearGAR
from gaa_core.cases import CaseData, CaseStudy, Split
from gaa_core.models import FlatModel
from gaa_core.simulator import Simulation


def steering(shares: Iterable[float], n: int = 10, d: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Proposition 1 by construction: one worker of fixed weight makes a linear rule return a target of its choice.

    Per weight of that worker: `missed`, the relative distance of the result from the target; `length`, that of its
    submission, and `at most`, (|target| + the others' weighted lengths) / weight. Gaussian submissions and target.
    """
    generator = torch.Generator().manual_seed(seed)
    honest = torch.randn(n - 1, d, generator=generator, dtype=torch.float64)
    target = torch.randn(d, generator=generator, dtype=torch.float64)
    spread = torch.rand(n - 1, generator=generator, dtype=torch.float64)
    rows = {}
    for share in shares:
        others = (1 - share) * spread / spread.sum()
        forged = (target - others @ honest) / share
        result = LinearGAR((share, *others.tolist()))(torch.cat([forged[None], honest]))
        most = (target.norm() + others @ honest.norm(dim=1)) / share
        missed = (result - target).norm() / target.norm()
        rows[share] = {"missed": float(missed), "length": float(forged.norm()), "at most": float(most)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("weight")


class ExponentialWeights:
    """A rule without learning of its own: credits proportional to exp(-eta * past losses). Made for one `regret`."""

    def __init__(self, n: int, steps: int):
        self.eta = math.sqrt(8 * math.log(n) / steps)  # the least bound for this many steps
        self.past = torch.zeros(n, dtype=torch.float64)  # each worker's losses so far
        self.losses: list[Tensor] = []
        self.credits: list[Tensor] = []

    def decide(self, submissions: Tensor, reference: Tensor) -> Tensor:  # [n, d], [d] -> [d]
        """The credited mean. The losses (1 - cos(V_i, reference)) / 2 count from the next step on."""
        credits = torch.softmax(-self.eta * self.past, dim=0)
        losses = (1 - kernels.cosines(submissions, reference)) / 2
        self.past = self.past + losses
        self.losses.append(losses)
        self.credits.append(credits)
        return credits.to(submissions) @ submissions


def regret(case: CaseStudy, *, steps: int, n: int, **options) -> tuple[pd.DataFrame, float]:
    """(per step the `regret` against the best fixed worker so far and its `bound`, final accuracy).

    Trains under exponential weights whose losses are taken against the QV gradient; `options` are those of a run.
    """
    weights = ExponentialWeights(n, steps)
    simulation = Simulation(
        case,
        lambda submissions: weights.decide(submissions, simulation.server.qv_gradient()),
        **{**options, "n": n, "steps": steps},
    )
    for _ in range(steps):
        simulation.advance()
    losses, credits = torch.stack(weights.losses), torch.stack(weights.credits)  # [steps, n]
    measured = (credits * losses).sum(dim=1).cumsum(0) - losses.cumsum(0).amin(dim=1)
    passed = torch.arange(1, steps + 1)
    bound = math.log(n) / weights.eta + weights.eta * passed / 8
    return pd.DataFrame({"regret": measured, "bound": bound}, index=passed.numpy()), simulation.evaluate()


def wrong_signs(simulation: Simulation, sets: Mapping[str, Sequence[Split]], points: Sequence[int]) -> pd.DataFrame:
    """How often a reward has the wrong sign, at some steps of a run: a row per step and kind of QV set.

    `sets` are many QV sets of each kind. `measured` is the share of the odd ones whose gradient's inner product with a
    submission has another sign than that of the training data's; `bound` is Cantelli's, from mean and variance over
    the even ones, 1 where the kind as a whole has the sign wrong. Both are means over the workers.
    """
    rows = []
    for step in range(max(points) + 1):
        if step in points:
            server = simulation.server
            computed = simulation.engine.gradients(server.parameters, step, None, simulation.roles(step))[0]
            for kind, drawn in sets.items():
                measured, bound = _signs(server.model, server.parameters, simulation.data, computed.double(), drawn)
                rows.append({"step": step, "source": kind, "measured": measured, "bound": bound})
        simulation.advance()
    return pd.DataFrame(rows)


def _signs(model: FlatModel, theta: Tensor, data: CaseData, submissions: Tensor, sets: Sequence[Split]):
    """(share of wrong signs, Cantelli's bound) of submissions [n, d], means over the workers."""
    task = model.gradient(theta, data.train.inputs, data.train.targets)[0].double()
    right = (submissions @ task).sign()  # [n]
    gradients = torch.stack([model.gradient(theta, each.inputs, each.targets)[0] for each in sets]).double()
    agreement = gradients @ submissions.T * right  # [sets, n], above 0 where the sign is right
    wrong = (agreement[1::2] <= 0).double().mean(dim=0)
    mean, variance = agreement[::2].mean(dim=0), agreement[::2].var(dim=0)
    bound = torch.where(mean > 0, variance / (variance + mean.square()), 1.0)
    return wrong.mean().item(), bound.mean().item()
