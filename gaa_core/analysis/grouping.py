"""Who acts together? Workers whose credits rise and fall together, by hierarchical clustering."""

from dataclasses import dataclass

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from gaa_core.analysis.turning import log_credits
from gaa_core.errors import GaaError
from gaa_core.trace import Trace


@dataclass(frozen=True, eq=False)
class Groups:
    """`labels` [n] name each worker's group from 1; `correlation` [n, n] and scipy's `tree` say why."""

    labels: np.ndarray
    correlation: np.ndarray
    tree: np.ndarray

    @property
    def order(self) -> np.ndarray:
        """The workers in the order of the tree's leaves, so that groups stand side by side."""
        return hierarchy.leaves_list(self.tree)


def groups(trace: Trace, *, since: int = 0) -> Groups:
    """Groups of workers whose log credits moved the same way from where they stood at step `since`.

    Correlation is about that start, not about each worker's mean: who only ever lost credit belongs together, whatever
    the shape of the loss, and whatever credit a policy that has learned nothing yet gave it. Average linkage; the tree
    is cut where groups no longer correlate positively on average. Set `since` to a turning point to see who turned
    together. Ours.
    """
    logs = log_credits(trace)
    steps = len(logs)
    if not 0 <= since < steps:
        raise GaaError(f"groups needs a step between 0 and {steps - 1} to start from; found {since}.")
    moved = logs[since:] - logs[since]
    lengths = np.linalg.norm(moved, axis=0) + 1e-12
    correlation = np.clip(moved.T @ moved / np.outer(lengths, lengths), -1.0, 1.0)
    apart = 1.0 - (correlation + correlation.T) / 2
    np.fill_diagonal(apart, 0.0)
    tree = hierarchy.linkage(squareform(apart, checks=False), "average")
    return Groups(hierarchy.fcluster(tree, 1.0, "distance"), correlation, tree)
