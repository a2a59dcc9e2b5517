"""What speaks for and against a submission: where updates have been going, and how evidence has looked so far."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gaa_core import kernels

#: From this many parameters on, what may be estimated from a part of them is.
MANY = 2**17

#: Steps for which a run is young: what was learned of the evidence may be wrong, and silence, too.
YOUNG = 150


class DirectionMemory:
    """Where accepted updates have been going, and how much each coordinate varies in what is submitted.

    The witness is average / (second moment + damping * its mean). Coordinates that swing to and fro, as along a stiff
    direction of the loss, say nothing of who is honest; the plain average of updates is worse than chance there.
    """

    def __init__(self, d: int, horizon: int, damping: float):
        self.horizon, self.damping = horizon, damping
        self.average = torch.zeros(d)
        self.square = torch.zeros(d)
        self.accepted = self.seen = 0
        self.standing = 0.0  # log-odds that the average points the right way, by the votes of the QV gradient

    def witness(self) -> Tensor | None:
        """[d]; None before the first update."""
        if self.accepted == 0:
            return None
        return self.calm(self.average)

    def calm(self, vector: Tensor) -> Tensor:
        """A direction [d] with each coordinate divided by the second moment that submissions have there."""
        tiny = torch.finfo(self.square.dtype).tiny
        return vector / (self.square + self.damping * self.square.mean()).clamp_min(tiny)

    def whitened(self, gradients: Tensor, columns: slice | Tensor = slice(None)) -> Tensor:
        """Submissions [n, c] at some columns, each of these divided by its usual size, as peers compare them."""
        usual = self.square[columns] + self.damping * self.square.mean()
        return gradients * usual.clamp_min(torch.finfo(usual.dtype).tiny).rsqrt().to(gradients.dtype)

    def accept(self, update: Tensor) -> None:
        """Remember the direction of an update [d]: its length would let one wild step outweigh many."""
        length = float(kernels.norms(update[None]))
        if length == 0.0:
            return
        self.accepted += 1
        share = max(1 / self.horizon, 1 / self.accepted)
        self.average.lerp_((update / length).to(self.average), share)

    def note(self, gradients: Tensor, lengths: Tensor) -> None:
        """The second moment of submissions [n, d], whoever sent them, each at length 1; of many coordinates a part."""
        present = lengths > 0
        if not present.any():
            return
        parts = 1 if self.seen == 0 or len(self.square) <= MANY else 4
        shortest = 1e-37  # whose inverse is finite in float32
        scales = torch.where(present, 1 / lengths.clamp_min(shortest), 0.0).to(gradients.dtype)[:, None]
        count = int(present.sum())
        share = max(1 / self.horizon, 1 / (self.seen + 1)) if parts == 1 else min(1.0, parts / self.horizon)
        for place, block in enumerate(kernels.column_blocks(gradients)):
            if place % parts == self.seen % parts:
                moment = (gradients[:, block] * scales).square_().sum(dim=0) / count
                self.square[block].lerp_(moment.to(self.square), share)
        self.seen += 1

    def vote(self, own: Tensor, judge: Tensor, worth: float) -> bool:
        """Compare its own cosines [n] with those of the QV gradient: one vote a step. True when it has to turn round.

        The QV gradient errs for all submissions of a step at once, and rightly or wrongly the memory confirms itself:
        it is believed no more than the votes say, and when they speak against it, it has pointed the wrong way.
        """
        scale = own.norm() * judge.norm()
        if scale > 0:
            agreement = float(own @ judge / scale)
            self.standing = min(self.standing + 1.15 * worth * agreement * abs(agreement), 5.0)
        if self.standing > -2.0:
            return False
        self.turn()
        return True

    def turn(self) -> None:
        """It has pointed the wrong way."""
        self.standing = max(abs(self.standing), 2.0)
        self.average.neg_()

    def credibility(self) -> float:
        """How far it can be believed, in [0, 1]."""
        return max(0.0, math.tanh(self.standing / 2))

    def state(self) -> tuple[Tensor, Tensor, int, int, float]:
        return self.average.clone(), self.square.clone(), self.accepted, self.seen, self.standing

    def restore(self, state: tuple[Tensor, Tensor, int, int, float]) -> None:
        average, square, self.accepted, self.seen, self.standing = state
        self.average, self.square = average.clone(), square.clone()


class Calibration:
    """How one kind of evidence looks among the trusted and among the distrusted, which turns a number into log-odds.

    Two normal distributions. Until the distrusted are known, theirs is as wide as that of the trusted, and about 0.
    To the right of the trusted, and to the left of the distrusted, evidence says at least and at most what it says at
    their means: what was never seen before is judged by its sign.
    """

    def __init__(self, horizon: int, cap: float, floor: float = 0.0, apart: float | None = None):
        self.horizon, self.cap, self.floor, self.apart = horizon, cap, floor, apart
        self.mean = self.variance = 0.0  # of the trusted
        self.other_mean = self.other_variance = 0.0
        self.steps = 0
        self.known = 0.0  # distrusted submissions that were seen
        self.noise = 0.0  # the spread of honest evidence, as far as it is foretold

    def log_odds(self, values: Tensor) -> Tensor:
        """[n] -> [n], within the cap."""
        if self.steps == 0:
            self._begin(values)
        mean = 0.85 * max(self.mean, self.floor * self.variance**0.5)  # honest agreement wanes as training goes on
        if mean <= 0:
            return torch.zeros_like(values)
        spread = self.variance + (0.2 * mean) ** 2
        simple = 2 * mean / spread * (values - mean / 3)
        if self.known < 1:
            return simple.clamp(-self.cap, self.cap)
        other_mean, other_spread = self._other(mean, spread)

        def ratio(x):
            distances = (x - other_mean) ** 2 / other_spread - (x - mean) ** 2 / spread
            return 0.5 * (distances + math.log(other_spread / spread))

        odds = ratio(values)
        if other_mean < mean:
            odds = torch.where(values > mean, odds.clamp_min(ratio(mean)), odds)
            odds = torch.where(values < other_mean, torch.minimum(odds, simple), odds)
        return (odds * self._faith()).clamp(-self.cap, self.cap)

    def learn(self, values: Tensor, trust: Tensor, distrust: Tensor) -> None:
        """Take in the evidence [n] of workers trusted and distrusted this much [n]."""
        total = float(trust.sum())
        if total > 0.1:
            reach = 3 * self.variance**0.5
            near = values.clamp(self.mean - reach, self.mean + reach) if self.steps > 5 else values
            share = max(1 / self.horizon, 1 / (self.steps + 1)) * min(1.0, total)
            self.mean, self.variance = _moved(self.mean, self.variance, near, trust / total, share)
            self.steps += 1
        total = float(distrust.sum())
        if total > 0.1:
            share = max(1 / self.horizon, total / (self.known + total)) * min(1.0, total)
            self.other_mean, self.other_variance = _moved(
                self.other_mean, self.other_variance, values, distrust / total, share
            )
        self.known += total if self.known < self.horizon else (total - self.known) / self.horizon

    def clarity(self) -> float:
        """Spreads between the trusted and the distrusted, or 1.8 times those of the trusted from 0 if that is more.

        Infinite until both are known.
        """
        if self.steps < self.horizon or self.known < self.horizon / 2:
            return math.inf
        return max(self._gap(), 1.8 * self.mean / max(self.variance, 1e-24) ** 0.5)

    def _gap(self) -> float:
        """Spreads between the trusted and the distrusted."""
        both = max(0.5 * (self.variance + self.other_variance), 1e-24) ** 0.5
        return (self.mean - self.other_mean) / both

    def relax(self) -> None:
        """Nobody has been trusted for a while: expect less."""
        self.mean *= 0.95
        self.other_mean *= 0.95
        self.known *= 0.9

    def _other(self, mean: float, spread: float) -> tuple[float, float]:
        """Mean and variance of the distrusted; a few imagined ones about 0 count with those that were seen."""
        seen = self.known / (self.known + 3.0)
        variance = seen * self.other_variance + (1 - seen) * spread + seen * (1 - seen) * self.other_mean**2
        return seen * self.other_mean, max(variance, (0.03 * mean) ** 2)

    def _faith(self) -> float:
        """How far two kinds of workers are believed in, in [0, 1].

        Whoever cuts one kind in two by its own noise sees a gap of about 2.7 spreads, and less where the cut is soft.
        """
        if self.apart is None or self.steps > YOUNG:
            return 1.0
        gap = min(max(0.0, self._gap() / self.apart), 1.0)
        return 1 - self.known / (self.known + 3.0) * (1 - gap**2)

    def _begin(self, values: Tensor) -> None:
        self.mean = 0.7 * float(values.abs().max())
        self.variance = max(0.4 * self.mean, self.noise) ** 2
        self.steps = 1


class Lengths:
    """What the length of a submission says: nobody honest is many times longer or shorter than is usual.

    Where the distrusted give themselves away so, an ordinary length speaks for a worker, too.
    """

    def __init__(self, horizon: int, cap: float):
        self.horizon, self.cap = horizon, cap
        self.usual = 0.0  # of the trusted
        self.strange = 0.0  # share of the distrusted who are out of the ordinary

    def log_odds(self, lengths: Tensor, yardstick: float) -> Tensor:
        """[n]; the yardstick stands in for what is usual as long as nobody has been trusted."""
        usual = self.usual or yardstick
        if not usual > 0:
            return torch.zeros_like(lengths)
        longest, shortest = (3.0, 4.0) if self.usual else (2.0, 5.0)  # a mean over more samples is rather shorter
        ratio = (lengths.clamp_min(1e-300) / usual).log()
        excess = torch.maximum(ratio - math.log(longest), -ratio - math.log(shortest))
        against = -(10.0 * excess).clamp(0.0, 3 * self.cap)  # no other evidence outweighs a gross one
        return torch.where(excess <= 0, -math.log(1.05 - self.strange), against)

    def learn(self, odds: Tensor, distrust: Tensor) -> None:
        """Take in which of the workers, distrusted this much [n], were out of the ordinary."""
        total = float(distrust.sum())
        if total > 0.1:
            share = float(distrust[odds < 0].sum()) / total
            self.strange += (share - self.strange) * min(1.0, total) / self.horizon

    def follow(self, usual: float, yardstick: float) -> float:
        """Take in the median length of the credited, and return it: at most twice what was usual."""
        usual = min(usual, 2 * self.usual if self.usual else yardstick)
        self.usual += (usual - self.usual) * (0.1 if self.usual else 1.0)
        return usual

    def relax(self, yardstick: float) -> None:
        """Nobody has been trusted for a while: what seemed usual may have been a liar's."""
        if self.usual and yardstick > 0:
            self.usual *= (2 / 3 * yardstick / self.usual) ** 0.1


class Agreement:
    """How much the trusted agree with one another: mean and spread of the cosines of pairs."""

    def __init__(self, horizon: int, cap: float):
        self.horizon, self.cap = horizon, cap
        self.mean = self.variance = 0.0

    def log_odds(self, cosine: Tensor, lean: Tensor) -> Tensor:
        """What the others' leanings [n] (1 honest, -1 not) say of each, by its cosines with them [n, n].

        No pair counts for more than one unit, so that a few who agree closely are no more than a few.
        """
        if self.variance <= 0 or self.mean <= 0:
            return torch.zeros_like(lean)
        pairs = (2 * self.mean / self.variance * cosine).clamp(-1, 1).fill_diagonal_(0.0)
        votes = pairs @ lean
        return (votes - votes.max().clamp_max(0)).clamp(-self.cap, self.cap)  # all against all says nothing of any

    def learn(self, cosine: Tensor, trust: Tensor) -> None:
        """Take in the cosines [n, n] of workers trusted this much [n]."""
        pair = (trust[:, None] * trust[None, :]).fill_diagonal_(0.0)
        total = float(pair.sum())
        if total < 0.5:
            return
        mean = float((pair * cosine).sum()) / total
        variance = max(float((pair * (cosine - mean).square()).sum()) / total, (0.3 * mean) ** 2)
        share = 1 / self.horizon if self.variance else 1.0
        self.mean += share * (mean - self.mean)
        self.variance += share * (variance - self.variance)


def cosines(gram: Tensor) -> Tensor:  # [n, n] -> [n, n]
    """Cosines between submissions from their Gram matrix; 0 where one is zero, 1 on the diagonal."""
    lengths = gram.diagonal().clamp_min(0).sqrt()
    scale = lengths[:, None] * lengths[None, :]
    return torch.where(scale > 0, gram / scale.clamp_min(1e-300), 0.0).clamp(-1, 1).fill_diagonal_(1.0)


def multiplicity(cosine: Tensor, start: float = 0.9, stop: float = 0.99) -> Tensor:  # [n, n] -> [n]
    """How many submissions are the same as each, itself included: others count from `start` on, fully at `stop`."""
    return ((cosine - start) / (stop - start)).clamp(0, 1).sum(dim=1)


def survey(gradients: Tensor, vectors: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Lengths [n] and cosines [n, k] of submissions [n, d] with k vectors [d], in one pass; cosines are 0 with zero.

    Raises kernels.NotFinite when a submission is not finite.
    """
    matrix = torch.stack([vector.to(gradients.dtype) for vector in vectors])  # [k, d]
    squares = torch.zeros(len(gradients), dtype=torch.float64)
    products = torch.zeros(len(gradients), len(vectors), dtype=torch.float64)
    for block in kernels.column_blocks(gradients, elements=400_000):
        part = gradients[:, block]
        squares += torch.linalg.vector_norm(part, dim=1).double().square()
        products += part @ matrix[:, block].T
    lengths = squares.sqrt()
    least, most = (1e-12, 1e15) if gradients.dtype == torch.float32 else (1e-130, 1e130)
    for row in torch.nonzero(~((lengths > least) & (lengths < most))).flatten().tolist():
        only = gradients[row : row + 1]
        if not kernels.finite_rows(only).all():
            raise kernels.NotFinite
        lengths[row] = kernels.norms(only)[0]
        products[row] = (only[0].double() / lengths[row].clamp_min(1e-300)) @ matrix.double().T * lengths[row]
    scale = lengths[:, None] * kernels.norms(matrix)
    return lengths, torch.where(scale > 0, products / scale.clamp_min(1e-300), 0.0).nan_to_num(0.0).clamp(-1, 1)


def weighted_median(values: Tensor, weights: Tensor) -> float:
    """The least value at which half the weight is reached; infinite without any weight."""
    total = weights.sum()
    if total <= 0:
        return math.inf
    order = values.argsort()
    reached = weights[order].cumsum(0) >= 0.5 * total
    return float(values[order][int(reached.nonzero()[0])])


def _moved(mean: float, variance: float, values: Tensor, weights: Tensor, share: float) -> tuple[float, float]:
    """A running mean and variance after weighted values [n], whose weights sum to 1."""
    deviation = float(weights @ (values - mean).square())
    return mean + share * (float(weights @ values) - mean), variance + share * (deviation - variance)
