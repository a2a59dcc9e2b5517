"""Where updates should be going: a memory of it, and the cosines of submissions with directions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gaa_core import kernels

#: From this many parameters on, what may be estimated from a part of them is.
MANY = 2**17


class DirectionMemory:
    """Where submissions of one kind have been pointing, and how much each coordinate varies in what is submitted.

    It follows the contrast between two kinds of workers: Byzantine workers who submit the opposite of something tell of
    it, too. Once they cannot be set apart any more it follows the update. The witness is average / (second moment +
    damping * its mean): coordinates that swing to and fro, as along a stiff direction of the loss, say nothing of who
    is honest, and the plain average is worse than chance there.
    """

    def __init__(self, d: int, horizon: int, damping: float):
        self.horizon, self.damping = horizon, damping
        self.average = torch.zeros(d)
        self.square = torch.zeros(d)
        self.accepted = self.seen = 0
        self.standing = 0.0  # log-odds that the average points the right way, by the votes of the QV gradient

    def witness(self) -> Tensor | None:
        """[d]; None before the first direction."""
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

    def accept(self, contrast: Tensor) -> None:
        """Remember a direction [d], not its length, which would let one wild step outweigh many."""
        length = float(kernels.norms(contrast[None]))
        if length == 0.0:
            return
        self.accepted += 1
        share = max(1 / self.horizon, 1 / self.accepted)
        self.average.lerp_((contrast / length).to(self.average), share)

    def note(self, gradients: Tensor, lengths: Tensor) -> None:
        """The second moment of submissions [n, d] of all workers, each at length 1; of many coordinates a part."""
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

    def vote(self, own: Tensor, judges: list[Tensor], counts: Tensor, worth: float) -> bool:
        """Compare its own cosines [n] with those of QV gradients: one vote a step. True when it has to be reversed.

        A QV gradient errs for all submissions of a step at once, and rightly or wrongly the memory confirms itself:
        it is believed no more than the votes say, and when they speak against it, it has pointed the wrong way.
        `counts` [n] says how many submissions each is: a crowd that says the same has no more of a voice than one.
        """
        scales = [((counts @ own**2) * (counts @ judge**2)).sqrt() for judge in judges]
        agreements = [float(counts @ (own * by) / scale) for by, scale in zip(judges, scales, strict=True) if scale > 0]
        if agreements:
            agreement = sum(agreements) / len(agreements)
            weight = 1.15 * worth * min(1.0, float(counts.sum()))
            self.standing = min(self.standing + weight * agreement * abs(agreement), 5.0)
        if self.standing > -2.0:
            return False
        self.turn()
        return True

    def adopt(self, average: Tensor, accepted: int, standing: float) -> None:
        """Begin with a direction [d] that was learned elsewhere from so many steps, and what speaks for its sign."""
        self.average, self.accepted, self.standing = average.to(self.average), accepted, standing

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


def survey(gradients: Tensor, vectors: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Lengths [n] and cosines [n, k] of finite submissions [n, d] with k vectors [d], in one pass; 0 with zero."""
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
        lengths[row] = kernels.norms(only)[0]
        products[row] = (only[0].double() / lengths[row].clamp_min(1e-300)) @ matrix.double().T * lengths[row]
    scale = lengths[:, None] * kernels.norms(matrix)
    return lengths, torch.where(scale > 0, products / scale.clamp_min(1e-300), 0.0).nan_to_num(0.0).clamp(-1, 1)


def unit(vector: Tensor) -> Tensor:
    """A vector [d] at length 1; 0 stays 0."""
    length = kernels.norms(vector[None]).to(vector)
    return torch.where(length > 0, vector / length, 0.0)
