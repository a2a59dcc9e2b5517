"""Where libraries give different answers under the same name, on finite rows that can be checked by hand, and why.

Our answers are computed when asked for. Those of others were printed by the versions named and are kept as they were;
tests compare ByzFL's with the library where it is installed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor

from gaa_core import aggregators as rules
from gaa_core.aggregators.base import Aggregator
from gaa_core.aggregators.composition import PreAggregator
from gaa_core.errors import TooFewWorkers

VERSIONS = {"byzfl": "0.0.11", "torchjd": "0.18.0", "flwr": "1.42.0", "torch": "2.13.0"}

#: The rows of every example in ByzFL's docstrings; five on a line with one far off; eight on which three Krums part.
DOCSTRING = ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), (7.0, 8.0, 9.0))
LINE = ((0.0,), (1.0,), (3.0,), (4.0,), (100.0,))
EIGHT = ((0.0,), (3.0,), (4.0,), (6.0,), (14.0,), (15.0,), (17.0,), (19.0,))

Answer = list | str


@dataclass(frozen=True)
class Case:
    """One input, our rule, what others answer, and why. `byzfl` is that library's class and its arguments."""

    ours: Aggregator | PreAggregator
    rows: tuple
    others: dict[str, Answer]
    why: str
    byzfl: tuple = field(default=())

    def answer(self) -> Answer:
        """Our answer: numbers, or the sentence with which the rule refuses."""
        gradients = torch.tensor(self.rows, dtype=torch.float64)
        try:
            update = self._apply(gradients)
        except TooFewWorkers as error:
            return str(error)
        return [round(value, 4) for value in update.flatten().tolist()]

    def _apply(self, gradients: Tensor) -> Tensor:
        if isinstance(self.ours, PreAggregator):
            return self.ours.transform(self.ours.mixing(gradients), gradients)
        return self.ours(gradients)


#: What differs, and what we chose.
DIFFERENT = [
    Case(
        rules.Krum(f=2),
        EIGHT,
        {"byzfl": [6.0], "torchjd": [15.0], "flwr": [14.0]},
        "the source sums squared distances to the n-f-2 nearest; byzfl takes n-f-1, torchjd does not square",
        ("Krum", 2),
    ),
    Case(
        rules.MultiKrum(f=2),
        EIGHT,
        {"byzfl": [9.8333]},
        "byzfl averages the n-f best, we the n-f-2 that the scores are made of; the repr says how many",
        ("MultiKrum", 2),
    ),
    Case(
        rules.Krum(f=1),
        DOCSTRING,
        {"byzfl": [1.0, 2.0, 3.0]},
        "with 3 workers and f=1 there is no neighbour to judge by: the source needs n >= 2f+3, byzfl n > 2f",
        ("Krum", 1),
    ),
    Case(
        rules.MultiKrum(f=1),
        DOCSTRING,
        {"byzfl": [2.5, 3.5, 4.5]},
        "the same",
        ("MultiKrum", 1),
    ),
    Case(
        rules.GeometricMedian(),
        DOCSTRING,
        {"byzfl": [3.7879, 4.7879, 5.7879]},
        "byzfl stops after 3 steps from the origin, its distances cut off at 0.1; the minimum is the middle row",
        ("GeometricMedian",),
    ),
    Case(
        rules.CenteredClipping(),
        LINE,
        {"byzfl": [21.6]},
        "byzfl clips once about the origin at radius 100, whatever the scale; we about a central row at the median "
        "distance from it",
        ("CenteredClipping",),
    ),
    Case(
        rules.CoordinateMedian(),
        LINE[:4],
        {"torch": [1.0], "byzfl": [2.0]},
        "torch.median takes the lower of the two middle values of an even number, we their mean",
        ("Median",),
    ),
    Case(
        rules.TrimmedMean(f=1),
        LINE,
        {"flwr": [21.6], "torchjd": [2.6667], "byzfl": [2.6667]},
        "flwr drops a share of the workers at each end, rounded down: a tenth of 5 is none; others drop f at each end",
        ("TrMean", 1),
    ),
    Case(
        rules.NormClipping(bound=2.0),
        DOCSTRING,
        {"byzfl": [0.5345, 1.069, 1.6036, 0.9117, 1.1396, 1.3675, 1.0051, 1.1487, 1.2923]},
        "the same numbers, but byzfl writes them over the caller's tensor; we leave it as it was",
        ("Clipping", 2.0),
    ),
    Case(
        rules.SMEA(f=1),
        DOCSTRING,
        {"byzfl": "either pair of neighbours"},
        "the two pairs tie; in byzfl rounding decides, and not always the same way (its docstring has ours); we take "
        "the smallest worker numbers",
    ),
    Case(
        rules.Bucketing(size=2),
        DOCSTRING,
        {"byzfl": "as the global generator has it"},
        "groups are drawn at random: byzfl by the global generator, we by one of our own, so that a run repeats",
    ),
]

#: ByzFL's other docstring examples, on which we agree.
AGREED = [
    Case(rules.Mean(), DOCSTRING, {"byzfl": [4.0, 5.0, 6.0]}, "", ("Average",)),
    Case(rules.CoordinateMedian(), DOCSTRING, {"byzfl": [4.0, 5.0, 6.0]}, "", ("Median",)),
    Case(rules.TrimmedMean(f=1), DOCSTRING, {"byzfl": [4.0, 5.0, 6.0]}, "", ("TrMean", 1)),
    Case(
        rules.CenteredClipping(),
        DOCSTRING,
        {"byzfl": [4.0, 5.0, 6.0]},
        "by symmetry, though the centres and radii differ",
        ("CenteredClipping",),
    ),
    Case(
        rules.MDA(f=1),
        DOCSTRING,
        {"byzfl": [2.5, 3.5, 4.5]},
        "a tie, given to the smallest worker numbers by both",
        ("MDA", 1),
    ),
    Case(rules.MoNNA(f=1, pivot=1), DOCSTRING, {"byzfl": [2.5, 3.5, 4.5]}, "", ("MoNNA", 1, 1)),
    Case(
        rules.MeanAroundMedian(f=1),
        DOCSTRING,
        {"byzfl": [2.5, 3.5, 4.5]},
        "a tie in every coordinate; we keep the lesser value",
        ("Meamed", 1),
    ),
    Case(rules.CAF(f=1), DOCSTRING, {"byzfl": [4.0, 5.0, 6.0]}, "", ("CAF", 1)),
    Case(
        rules.NearestNeighbourMixing(f=1),
        DOCSTRING,
        {"byzfl": [2.5, 3.5, 4.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]},
        "row 1 is as far from row 0 as from row 2; both take the smaller number",
        ("NNM", 1),
    ),
    Case(
        rules.ARC(f=1),
        DOCSTRING,
        {"byzfl": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 4.41, 5.04, 5.6701]},
        "",
        ("ARC", 1),
    ),
]


def table(cases: list[Case]) -> pd.DataFrame:
    """A row a case: rule, rows, our answer, the others' with their versions, and the reason."""
    libraries = list(dict.fromkeys(name for case in cases for name in case.others))
    rows = []
    for case in cases:
        row = {"rule": repr(case.ours), "rows": _words(case.rows), "ours": _words(case.answer())}
        row |= {f"{name} {VERSIONS[name]}": _words(case.others.get(name, "")) for name in libraries}
        rows.append(row | {"why": case.why})
    return pd.DataFrame(rows)


def _words(value: object) -> str:
    """Numbers without brackets: (0, 1, 3) for rows of one number, (1 2 3) (4 5 6) for longer ones."""
    if isinstance(value, str):
        return value
    if value and isinstance(value[0], tuple):
        return ", ".join(" ".join(f"{number:g}" for number in row) for row in value)
    return " ".join(f"{number:g}" for number in value)
