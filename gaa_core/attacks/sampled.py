"""A distribution of attacks: `sample(seed)` composes one from primitives, to judge rules by unforeseen attacks."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core import seeding
from gaa_core.attacks.base import Attack, truth
from gaa_core.attacks.lean import Course, unit
from gaa_core.errors import GaaError, UnknownName

#: The primitives by the field that chooses among them.
PRIMITIVES = {
    "direction": ("own", "benign mean", "qv gradient", "momentum", "random", "other layer"),
    "coordinates": ("all", "random", "top", "layer"),
    "collusion": ("independent", "copies", "jittered copies", "rival groups"),
    "poison": ("none", "permuted labels", "one class"),
    "timing": ("always", "from start", "bursts", "at random", "while credited"),
}

#: The role schedules that attacks are sampled with, by their names in `gaa_core.roles`.
ROLES = ("static", "pretense", "randomized", "resampled")

SCALES = (1e-3, 1e2)  # of |scale|, log-uniform: from lazy workers to floods
SHARES = (0.01, 0.5)  # of the coordinates that are forged, log-uniform
REVERSED = 2 / 3  # share of attacks with a negative scale
JITTERS = (1e-3, 1.0)  # of copies, in lengths, log-uniform
POISONING = 0.2  # share of attacks that poison batches; they submit (a multiple of) what they then compute


@dataclass(frozen=True, repr=False)
class ComposedAttack(Attack):
    """scale * direction on some coordinates and the own gradient on the rest, with collusion, poison and timing.

    A direction other than the worker's own gradient has the length of the mean own gradient. Independent attackers
    keep their own noise, own - mean(own), on a common direction. `share` of the coordinates are forged: drawn once
    ("random"), the largest of each row ("top"), or one contiguous run ("layer"). Jittered copies differ by `jitter`
    times their length. Of two rival groups one submits the opposite of the other. Attackers are honest outside
    `timing`: before step `start`; in bursts, after the first `duty` share of every `period` steps; at random, with
    probability 1 - duty; while credited, when they hold less than their share of the last credits. Rules without
    credits are attacked always. Without an honest worker the benign mean is that of the attackers' own gradients.
    """

    source = "ours (the distribution that rules are judged by)"

    direction: str = "own"
    scale: float = -1.0
    coordinates: str = "all"
    share: float = 0.1
    collusion: str = "independent"
    jitter: float = 0.01
    poison_by: str = "none"
    timing: str = "always"
    start: int = 0
    period: int = 10
    duty: float = 0.5
    seed: int = 0
    leak: str = "none"  # "samples" or "distribution" where the direction is the QV gradient
    _course = Course()
    _gradient = None
    _classes = 2
    _active = True

    def __post_init__(self):
        for name, known in PRIMITIVES.items():
            value = self.poison_by if name == "poison" else getattr(self, name)
            if value not in known:
                raise UnknownName(f"{name} of ComposedAttack", str(value), known)
        if not (0 < self.share <= 1 and 0 < self.duty <= 1 and self.period >= 1 and self.start >= 0):
            raise GaaError(f"ComposedAttack needs share, duty in (0, 1], period >= 1 and start >= 0; found {self!r}.")
        if self.direction == "qv gradient" and self.leak not in ("samples", "distribution"):
            raise GaaError(f"The direction 'qv gradient' needs leak='samples' or 'distribution'; found {self.leak!r}.")

    def __repr__(self) -> str:
        """Runnable code: the fields that differ from their defaults."""
        values = ((each.name, getattr(self, each.name), each.default) for each in dataclasses.fields(self))
        return f"ComposedAttack({', '.join(f'{name}={value!r}' for name, value, usual in values if value != usual)})"

    def informed(self, knowledge):
        active = self.attacks_at(knowledge.step) and (self.timing != "while credited" or _credited(knowledge))
        gradient = knowledge.qv_gradient() if self.direction == "qv gradient" else None
        course = self._course.after(knowledge.parameters, 0.9) if self.direction == "momentum" else self._course
        return self.knowing(_active=active, _gradient=gradient, _course=course, _classes=knowledge.classes)

    def attacks_at(self, step: int) -> bool:
        """Whether the clock allows an attack at this step."""
        if self.timing == "from start":
            return step >= self.start
        if self.timing == "bursts":
            return step % self.period < max(1.0, self.duty * self.period)
        if self.timing == "at random":
            return float(torch.rand((), generator=seeding.generator(self.seed, "timing", step))) < self.duty
        return True

    def poison(self, inputs, targets):
        if self.poison_by == "none" or not self._active:
            return inputs, targets
        return inputs, torch.zeros_like(targets) if self.poison_by == "one class" else (targets + 1) % self._classes

    def forge(self, own, honest, generator):
        aim = self._direction(own, honest, generator) if self._active else None
        if aim is None:
            return own
        side = 1 - 2 * (torch.arange(len(own), device=own.device) % 2)[:, None] * (self.collusion == "rival groups")
        forged = torch.where(self._chosen(own), self.scale * side * aim, own.double())  # [b, d]
        if self.collusion in ("copies", "jittered copies"):
            forged = forged[:1].expand_as(own)
        if self.collusion == "jittered copies":
            noise = torch.randn(own.shape, generator=generator).to(forged)
            forged = forged + self.jitter * forged.norm(dim=1, keepdim=True) / math.sqrt(own.shape[1]) * noise
        most = torch.finfo(own.dtype).max
        return torch.where(own.isfinite().all(), forged.nan_to_num(0.0, most, -most).clamp(-most, most), forged).to(own)

    def _direction(self, own: Tensor, honest: Tensor, generator: torch.Generator) -> Tensor | None:
        """float64 [b, d], as long as gradients are; None where there is no direction yet."""
        own, mean = own.double(), own.double().mean(dim=0)
        match self.direction:
            case "own":
                return own
            case "other layer":
                return own.roll(own.shape[1] // 2, dims=1)
            case "random":
                aim = torch.randn(own.shape[1], generator=generator).to(own)
            case "benign mean":
                aim = truth(own, honest.double()).mean(dim=0)
            case "qv gradient":
                aim = mean if self._gradient is None else self._gradient.to(own)
            case "momentum":
                aim = self._course.direction
        if aim is None:
            return None
        common = (mean.norm() * unit(aim.to(own))).expand_as(own)
        return common if self.collusion != "independent" else common + (own - mean)

    def _chosen(self, own: Tensor) -> Tensor:
        """bool, [b, d] or [d]: the coordinates that are forged, at least one."""
        d = own.shape[1]
        count = max(1, round(self.share * d))
        if self.coordinates == "all":
            return torch.ones(d, dtype=torch.bool, device=own.device)
        if self.coordinates == "top":
            return torch.zeros_like(own, dtype=torch.bool).scatter(1, own.abs().topk(count, dim=1).indices, True)
        draw = seeding.generator(self.seed, "coordinates", d)
        if self.coordinates == "random":
            chosen = torch.randperm(d, generator=draw)[:count]
        else:
            chosen = int(torch.randint(d - count + 1, (), generator=draw)) + torch.arange(count)
        return torch.zeros(d, dtype=torch.bool).index_fill(0, chosen, True).to(own.device)


def _credited(knowledge) -> bool:
    """Whether attackers held a mean credit as high as the mean of all, but for rounding, or more."""
    if knowledge.credits is None or not knowledge.byzantine.any():
        return True
    credits = knowledge.credits.double().nan_to_num(0.0)
    return bool(credits[knowledge.byzantine.to(credits.device)].mean() >= 0.999 * credits.mean())


def sample(seed: int, *, n: int = 10, steps: int = 100) -> tuple[ComposedAttack, str, dict[str, float]]:
    """Attack number `seed`, with the name of its role schedule and that schedule's parameters besides n.

    1 to n - 1 workers are compromised, with equal chances; times are shares of a run of `steps`.
    """
    draw = seeding.generator(seed, "sampled attack")

    def uniform(low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(torch.rand((), generator=draw, dtype=torch.float64))

    def log_uniform(low: float, high: float) -> float:
        return float(f"{math.exp(uniform(math.log(low), math.log(high))):.2g}")

    one_of = lambda choices: choices[int(uniform(0, len(choices)))]  # noqa: E731

    values = {name: one_of(PRIMITIVES[name]) for name in ("direction", "coordinates", "collusion", "timing")}
    values |= {"scale": log_uniform(*SCALES) * (-1 if uniform() < REVERSED else 1), "seed": seed}
    if uniform() < POISONING:
        values |= {"poison_by": one_of(PRIMITIVES["poison"][1:]), "direction": "own"}
    if values["direction"] == "qv gradient":
        values["leak"] = "samples"
    if values["coordinates"] != "all":
        values["share"] = log_uniform(*SHARES)
    if values["collusion"] == "jittered copies":
        values["jitter"] = log_uniform(*JITTERS)
    if values["timing"] == "from start":
        values["start"] = int(uniform(1, steps / 2))
    if values["timing"] == "bursts":
        values["period"] = int(uniform(2, max(3, steps / 3)))
    if values["timing"] in ("bursts", "at random"):
        values["duty"] = round(uniform(0.1, 0.9), 2)
    kind, byzantine, period = one_of(ROLES), 1 + int(uniform(0, n - 1)), one_of((1, 5, 20))
    if kind == "pretense":
        return ComposedAttack(**values), kind, {"byzantine": byzantine, "until": int(uniform(1, steps / 2))}
    changing = {"period": period, "seed": seed} if kind != "static" else {}
    count = {"beta": byzantine / n} if kind == "resampled" else {"byzantine": byzantine}
    return ComposedAttack(**values), kind, count | changing
