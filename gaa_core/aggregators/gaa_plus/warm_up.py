"""Warm-up: where submissions point, learned before the first move, so that no error of one's own misleads."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core.aggregators.gaa_plus.direction import survey, unit
from gaa_core.aggregators.gaa_plus.evidence import MirroredCalibration
from gaa_core.aggregators.gaa_plus.reputation import START
from gaa_core.aggregators.gaa_plus.sight import size

#: Submissions that are imagined to have come, at the usual share of benign workers, before any was seen.
IMAGINED = 10.0

#: Log-odds that all of the seen submissions are honest rather than all not, before the QV gradient is asked.
FAVOUR = 0.5

#: And in addition, where nearly all of the seen say the same and the QV samples are of one class: their gradient then
#: points where that class becomes likelier, at which the honest, who know of all classes, have no aim.
UNANIMITY = 4.0

#: [k] -> [k] or [d] -> [d].
Turn = Callable[[Tensor], Tensor]


class Idea:
    """A direction that may be the true gradient's or its opposite's, and what speaks for its sign."""

    def __init__(self, d: int, cap: float, favour: float = FAVOUR):
        self.favour = favour
        self.unanimity = 0.0  # log-odds for what nearly all say, by as much
        self.average = torch.zeros(d)  # of unit vectors
        self.steps = 0
        self.signs = MirroredCalibration(cap, window=30.0)
        self.counted = 0.0  # submissions
        self.along = 0.0  # submissions on its side
        self.for_it = 0.0  # the sum of products of its own cosines and the QV gradient's, each over its usual size

    def accept(self, contrast: Tensor) -> None:
        """Take in one direction [d]."""
        if contrast.any():
            self.steps += 1
            self.average.lerp_(unit(contrast).to(self.average), 1 / self.steps)

    def believed(self) -> float:
        """Log-odds that it points the right way: by the QV gradient, and by how many say so."""
        majority = 2 * self.along / max(self.counted, 1e-9) - 1  # 1: all are on its side, -1: no worker is
        nearly_all = math.copysign(min(1.0, max(0.0, (abs(majority) - 0.5) / 0.4)), majority)
        return 2 * self.for_it + self.favour * majority + self.unanimity * nearly_all

    def sign(self) -> float:
        """1 where it points the right way, as far as can be told; -1 where it points the other way."""
        return 1.0 if self.believed() > 0 else -1.0


@dataclass(frozen=True)
class Finding:
    """What warm-up makes of one step's submissions."""

    odds: Tensor  # [k] of being honest
    clear: bool  # whether the odds are worth learning from


class WarmUp:
    """Some steps of silence, in which one direction is learned from submissions of both signs.

    The cosine with grad f_B of a few samples may tell the sign of a single submission by half a spread, where the true
    gradient tells it by four. But all submissions of a few steps share that one direction up to their signs, and f_B
    has to tell one sign only. Two ideas of the direction grow: the plain mean, right where most are honest, and the
    contrast sum_i tanh(l_i / 2) V_i / |V_i|, where l_i adds up what grad f_B and the idea itself say of V_i: right
    where no worker has the majority. That one is taken that sets two kinds of workers apart more clearly.

    It ends once that is clear, or after `longest` steps. Once Byzantine workers were `exposed` who had been trusted,
    nothing speaks for the plain mean, and what they said last is asked beside the QV gradient. Source: ours.
    """

    def __init__(self, d: int, longest: int, cap: float, exposed: bool = False):
        self.longest, self.exposed = longest, exposed
        favour = 0.0 if exposed else FAVOUR
        self.ideas = {"mean": Idea(d, cap, favour), "contrast": Idea(d, cap, favour)}
        self.best: Idea | None = None
        self.size = 0.0  # root mean square of cosines with the QV gradient, over all steps
        self.steps = 0
        self.seen = 0.0  # submissions
        self.told, self.honest = (
            0.0,
            IMAGINED * START,
        )  # of these, the ones that were told apart, and the benign workers

    def look(
        self,
        gradients: Tensor,
        lengths: Tensor,
        values: dict[str, Tensor],
        counts: Tensor,
        calm: Turn,
        doubt: Turn,
        workers: int | None = None,
        one_class: bool = False,
    ) -> Finding:
        """Take in a step: submissions [k, d], their lengths [k], cosines [k] with QV gradients, `counts` [k].

        `calm` softens a direction [d] as the memory of directions does; `doubt` turns probabilities [k] of being honest
        into those for who is like others. `workers`: how many could have submitted, if more than have. `one_class`:
        whether all QV samples are of one.
        """
        self.steps += 1
        workers = workers or len(counts)
        for idea in self.ideas.values():
            idea.unanimity = UNANIMITY if one_class and not self.exposed else 0.0
        self.seen += float(counts.sum())
        kinds = (values.get("calm qv", values["qv"]), values["qv"])
        hints = sum(0.5 * seen / size(seen, counts) for seen in kinds)
        if self.exposed and "memory" in values:
            hints = 0.5 * hints + values["memory"] / size(values["memory"], counts)
        voice = hints if self.exposed else values["qv"]
        self.size += (size(voice, counts) - self.size) / self.steps
        leanings = self.judge(gradients, voice, counts, calm, workers)
        self.follow(gradients, lengths, hints, leanings, counts, doubt)
        if self.best is None:
            return Finding(hints, clear=False)
        odds = self.best.sign() * leanings[self.best]
        clear = self.best.signs.apart() > 1.5
        if clear:
            self.told += float(counts.sum())
            self.honest += float(torch.sigmoid(odds) @ counts)
        return Finding(odds, clear)

    def judge(self, gradients: Tensor, voice: Tensor, counts: Tensor, calm: Turn, workers: int) -> dict[Idea, Tensor]:
        """What each idea says of each submission [k], up to its sign; and which idea is the best."""
        ideas = [idea for idea in self.ideas.values() if idea.steps]
        if not ideas:
            return {}
        found = survey(gradients, [calm(idea.average) for idea in ideas])[1]
        leanings = {}
        for idea, own in zip(ideas, found.T, strict=True):
            idea.signs.learn(own, counts)
            leanings[idea] = idea.signs.leaning(own)
            idea.along += float(torch.sigmoid(leanings[idea]) @ counts)
            idea.counted += float(counts.sum())
            idea.for_it += 0.1 * float((own * voice) @ counts) / max(idea.signs.second**0.5 * self.size, 1e-24)
        trusted = [self.ideas["contrast"]] if self.exposed and self.ideas["contrast"].steps else ideas
        self.best = max(trusted, key=lambda idea: idea.signs.apart())
        return leanings

    def follow(self, gradients, lengths: Tensor, hints: Tensor, leanings, counts: Tensor, doubt: Turn) -> None:
        """Let both ideas grow by this step's submissions, in one pass over them."""
        weights = []
        for name, idea in self.ideas.items():
            odds = hints + leanings.get(idea, 0.0)
            weight = torch.tanh(odds / 2) if name == "contrast" else torch.ones_like(odds)
            honest = torch.sigmoid(odds)
            weights.append(torch.where(weight > 0, weight * doubt(honest) / honest.clamp_min(1e-12), weight))
        scales = torch.where(lengths > 0, counts / lengths.clamp_min(1e-300), 0.0)
        for idea, contrast in zip(
            self.ideas.values(), (torch.stack(weights) * scales).to(gradients.dtype) @ gradients, strict=True
        ):
            idea.accept(contrast)

    def over(self) -> bool:
        """Whether enough is known, or it has taken too long."""
        clear = self.best is not None and self.best.signs.apart() > 2.5 and self.seen > 1.5 * IMAGINED
        return clear or self.steps >= self.longest

    def share(self) -> float:
        """The share of honest submissions, as far as they were told apart."""
        return self.honest / (self.told + IMAGINED)
