"""The conformance suite for gradient aggregation rules: `gaa_core.check_aggregator(rule)` runs it on any rule."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gaa_core import aggregators, seeding
from gaa_core.aggregators.base import Aggregator, LearningAggregator, WeightedAggregator
from gaa_core.errors import GaaError, TooFewWorkers

#: An answer must stay within so many times the greatest distance of a benign submission from the benign mean.
SPREADS = 3.0

#: Where "outliers far from zero" has its benign submissions.
FAR_OFFSET = 1e5


class NonConforming(GaaError):
    """A rule failed a check of the conformance suite."""


@dataclass(frozen=True)
class QuadraticServer:
    """A server whose quasi-validation loss is |theta - optimum|^2 / 2: what learning rules need to be checked."""

    optimum: Tensor
    byzantine: Tensor
    step: int = 0
    lr: float = 0.1

    @property
    def parameters(self) -> Tensor:
        return torch.zeros_like(self.optimum)

    def qv_loss(self, parameters: Tensor | None = None) -> float:
        return float(self.qv_gradient(parameters).double().square().sum() / 2)

    def qv_gradient(self, parameters: Tensor | None = None) -> Tensor:
        return (self.parameters if parameters is None else parameters) - self.optimum

    def keep(self) -> None:
        """Do nothing: the parameters of this server never move."""

    refuse = keep

    def rollback(self) -> None:
        """Do nothing, likewise."""


@dataclass(frozen=True)
class Subject:
    """A rule under examination, with the numbers of workers and of Byzantine ones to examine it with."""

    rule: Callable[[Tensor], Tensor]
    n: int
    f: int

    def answer(self, gradients: Tensor, honest: Tensor | None = None) -> Tensor:
        """The rule's answer from a fresh start; `honest` rows (default: all) make the quasi-validation gradient.

        A learning rule that does not answer in its first `warm_up` steps is asked after them.
        """
        if isinstance(self.rule, LearningAggregator):
            honest = gradients if honest is None else honest
            self.rule.reset(*gradients.shape, seeding.generator(0, "conformance"))
            byzantine = torch.arange(len(gradients)) >= len(honest)
            server = QuadraticServer(-honest.double().mean(dim=0).to(honest.dtype), byzantine)
            for _ in range(max(getattr(part, "warm_up", 0) for part in _parts(self.rule))):
                self.rule.observe(server)
                self.rule(gradients)
            self.rule.observe(server)
        return self.rule(gradients)

    def typical(self, d: int = 24, dtype: torch.dtype = torch.float32) -> Tensor:
        """Submissions [n, d] as benign workers send them: a common direction and noise of its size."""
        return 1.0 + torch.randn(self.n, d, generator=seeding.generator(self.n, "conformance"), dtype=dtype)

    def require(self, holds: bool | Tensor, sentence: str) -> None:
        if not holds:
            raise NonConforming(f"{self.rule!r} {sentence}.")


def check_aggregator(
    rule: Callable[[Tensor], Tensor],
    *,
    n: int | None = None,
    f: int | None = None,
    exceptions: Mapping[str, str] | None = None,
) -> list[str]:
    """The names of the checks that a rule passed; raises NonConforming at the first that it fails.

    Works for any callable from [n, d] to [d]. `f` is how many workers may be Byzantine (default: the rule's own f, else
    2), `n` how many there are (default: enough for the rule, at least 4f+3). `exceptions` maps a check to the reason
    why this rule need not pass it; classes of this package state theirs as `exempt`.
    """
    f = f if f is not None else next((part.f for part in _parts(rule) if getattr(part, "f", None) is not None), 2)
    n = n if n is not None else max(_needs(rule), 4 * f + 3)
    exempt = {check for part in _parts(rule) for check in getattr(part, "exempt", ())} | set(exceptions or ())
    unknown = sorted(exempt - set(CHECKS))
    if unknown:
        raise GaaError(f"There is no check '{unknown[0]}'. Known: {', '.join(CHECKS)}.")
    names = [name for name in CHECKS if name not in exempt]
    for name in names:
        CHECKS[name](Subject(rule, n, f))
    return names


def examples(f: int = 2) -> list[Aggregator]:
    """One instance of every registered rule that needs no parameter but f, with this f where it takes one."""
    found = []
    for cls in aggregators.REGISTRY.values():
        fields = {each.name: each for each in dataclasses.fields(cls) if each.init}
        unset = (dataclasses.MISSING, dataclasses.MISSING)
        if all(name == "f" or (each.default, each.default_factory) != unset for name, each in fields.items()):
            found.append(cls(f=f) if "f" in fields else cls())
    return found


def _parts(rule: object) -> Iterator[object]:
    """A rule and, where it is a pipe, what it is made of."""
    yield rule
    for name in ("before", "first", "second", "rule"):
        if hasattr(rule, name):
            yield from _parts(getattr(rule, name))


def _needs(rule: object) -> int:
    return rule.needs() if hasattr(rule, "needs") else 1


def check_form(subject: Subject) -> None:
    """[n, d] -> [d], of the input's dtype and device, finite for finite submissions."""
    for dtype in (torch.float32, torch.float64):
        for d in (1, 24):
            update = subject.answer(subject.typical(d, dtype))
            form = (tuple(update.shape), update.dtype)
            subject.require(form == ((d,), dtype), f"must answer with shape ({d},) in {dtype}; found {form}")
            subject.require(update.isfinite().all(), "must answer finite submissions with finite numbers")


def check_untouched(subject: Subject) -> None:
    """The submissions are left as they were, also those that are not finite."""
    gradients = subject.typical()
    gradients[-1, 3] = math.nan if subject.f else 5.0
    before = gradients.clone()
    subject.answer(gradients, gradients[:-1])
    same = torch.equal(gradients.view(torch.int32), before.view(torch.int32))
    subject.require(same, "must not change the submissions")


def check_repeatable(subject: Subject) -> None:
    """The same submissions give the same answer, after any others and in any memory layout."""
    gradients = subject.typical()
    first = subject.answer(gradients)
    subject.answer(-3.0 * gradients)
    subject.require(torch.equal(first, subject.answer(gradients)), "must give the same answer twice")
    close = torch.allclose(first, subject.answer(gradients.T.contiguous().T), rtol=1e-5, atol=1e-5)
    subject.require(close, "must not depend on the memory layout")


def check_row_order(subject: Subject) -> None:
    """Renumbering the workers changes nothing."""
    gradients = subject.typical()
    expected = subject.answer(gradients)
    for draw in range(3):
        order = torch.randperm(subject.n, generator=seeding.generator(draw, "row order"))
        close = torch.allclose(subject.answer(gradients[order]), expected, rtol=1e-4, atol=1e-4)
        subject.require(close, "must not depend on the order of the workers")


def check_equal_rows(subject: Subject) -> None:
    """When all workers agree, that is the answer."""
    row = subject.typical()[0]
    for scale in (0.0, 1e-12, 1.0, 1e15):
        update = subject.answer((scale * row).repeat(subject.n, 1))
        close = torch.allclose(update, scale * row, rtol=1e-4, atol=0.0)
        subject.require(close, f"must answer equal rows (of scale {scale:g}) with that row")


def check_too_few(subject: Subject) -> None:
    """At the least number of workers the rule works; with one fewer it raises TooFewWorkers."""
    least = _needs(subject.rule)
    fewest = Subject(subject.rule, least, 0)
    fewest.answer(fewest.typical())
    if least > 1:
        try:
            subject.answer(fewest.typical()[:-1])
        except TooFewWorkers:
            return
        subject.require(False, f"must refuse {least - 1} workers with TooFewWorkers")


def check_outliers(subject: Subject, offset: float = 0.0) -> None:
    """Up to f wild submissions leave the answer within the benign spread."""
    gradients = subject.typical() + offset
    honest = gradients[: subject.n - subject.f]
    centre = honest.double().mean(dim=0)
    spread = (honest.double() - centre).norm(dim=1).max()
    for name, wild in _wild_rows(gradients[subject.n - subject.f :]).items():
        far = (subject.answer(torch.cat([honest, wild]), honest).double() - centre).norm() / spread
        subject.require(
            far <= SPREADS,
            f"must stay within {SPREADS:g} benign spreads of the benign mean when {subject.f} of {subject.n} workers "
            f"send {name} (benign rows about {1.0 + offset:g}); found {far:.3g}",
        )


def _wild_rows(own: Tensor) -> dict[str, Tensor]:  # [f, d] -> {name: [f, d]}
    """What f Byzantine workers may send instead of their own submissions."""
    one_bad, scattered = own.clone(), own.clone()
    one_bad[:, 0] = math.nan
    for place, row in enumerate(scattered):
        row[place :: len(own)] *= 1e5
    constants = {"NaN": math.nan, "infinity": math.inf, "1e30": 1e30, "-1e30": -1e30, "1e19": 1e19}
    return {name: torch.full_like(own, value) for name, value in constants.items()} | {
        "one NaN each": one_bad,
        "infinities of both signs": own.sign() * math.inf,
        "1e30 times their own": own * 1e30,
        "1e5 times their own": own * 1e5,
        "1e5 times their own, each in other coordinates": scattered,
        "their own plus 1e8": own + 1e8,
    }


def check_weights(subject: Subject) -> None:
    """The answer of a rule with weights is the sum of the submissions by these weights."""
    if not isinstance(subject.rule, WeightedAggregator):
        return
    gradients = subject.typical(dtype=torch.float64)
    update, weights = subject.rule.decide(gradients)
    subject.require(weights.shape == (subject.n,), f"must give {subject.n} weights; found {tuple(weights.shape)}")
    subject.require(torch.equal(weights, subject.rule.weights(gradients)), "must give the same weights twice")
    close = torch.allclose(weights @ gradients, update, rtol=1e-6, atol=1e-6)
    subject.require(close, "must answer with the sum of the submissions by its own weights")


def check_refusals(subject: Subject) -> None:
    """Submissions of a wrong shape or type are refused with a GaaError (asked of Aggregators only)."""
    if not hasattr(subject.rule, "needs"):
        return
    for wrong in (torch.zeros(24), torch.zeros(subject.n, 0), torch.zeros(subject.n, 24, dtype=torch.int64), "rows"):
        try:
            subject.rule(wrong)
        except GaaError:
            continue
        found = f"{wrong.dtype}{tuple(wrong.shape)}" if isinstance(wrong, Tensor) else repr(wrong)
        subject.require(False, f"must refuse {found} with a GaaError")


#: Name of a check -> the check. The names are those used in `exceptions` and `exempt`.
CHECKS: dict[str, Callable[[Subject], None]] = {
    "form": check_form,
    "untouched": check_untouched,
    "repeatable": check_repeatable,
    "row order": check_row_order,
    "equal rows": check_equal_rows,
    "too few": check_too_few,
    "outliers": check_outliers,
    "outliers far from zero": lambda subject: check_outliers(subject, FAR_OFFSET),
    "weights": check_weights,
    "refusals": check_refusals,
}
