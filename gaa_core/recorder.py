"""Recorder: the rows of a run as they come, and the Trace they become."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from gaa_core import kernels
from gaa_core.engine import ABSENCES
from gaa_core.trace import Trace


class Recorder:
    """Collects one row a step."""

    def __init__(self, settings: dict):
        self.settings = settings
        self.rows: list[dict] = []
        self.credits: list[Tensor | None] = []
        self.byzantine: list[Tensor] = []
        self.distances: list[Tensor] = []
        self.absences: list[Tensor] = []

    def add(
        self,
        *,
        byzantine: Tensor,
        credits: Tensor | None,
        accuracy: float | None,
        distances: Tensor | None = None,
        absences: Tensor | None = None,
        **row: float,
    ) -> None:
        """One step: scalars of the step, roles bool [n], credits [n] or None, distances [n, n] where they are kept,
        reasons for missing submissions int8 [n] where workers can fail.
        """
        accuracy = np.nan if accuracy is None else accuracy
        if absences is not None:
            self.absences.append(absences.cpu())
            row["missing"] = int((absences > 0).sum())
        self.rows.append({"step": len(self.rows), **row, "accuracy": accuracy})
        self.byzantine.append(byzantine.cpu())
        self.credits.append(None if credits is None else credits.detach().cpu())
        if distances is not None:
            self.distances.append(distances)

    def trace(self, final_qv_loss: float) -> Trace:
        """The Trace so far; the reward of the last step needs f_B at the parameters after it."""
        steps = pd.DataFrame(self.rows)
        steps["reward"] = steps["qv_loss"] - np.append(steps["qv_loss"].to_numpy()[1:], final_qv_loss)
        byzantine = torch.stack(self.byzantine).numpy()  # [steps, n]
        steps["byzantine_ratio"] = byzantine.mean(axis=1)
        missing = torch.full(byzantine.shape[1:], torch.nan)
        credits = torch.stack([missing if c is None else c.float() for c in self.credits]).numpy()  # [steps, n]
        extras = {"distances": torch.stack(self.distances).numpy()} if self.distances else {}  # [steps, n, n]
        settings = dict(self.settings)
        if self.absences:
            extras["absences"] = torch.stack(self.absences).numpy()  # [steps, n]
            settings["absences"] = list(ABSENCES)
        return Trace(settings, steps, credits, byzantine, extras)

    def state(self) -> dict:
        """The rows so far, for a checkpoint."""
        told = [credits is not None for credits in self.credits]
        credits = [credits for credits in self.credits if credits is not None]
        stacks = {"credits": credits, "byzantine": self.byzantine, "distances": self.distances}
        stacks = {**stacks, "absences": self.absences}
        stacked = {name: torch.stack(rows) if rows else None for name, rows in stacks.items()}  # few large tensors
        return {"rows": self.rows, "told": told, **stacked}

    def load_state(self, state: dict) -> None:
        """Go on after those rows."""
        self.rows = state["rows"]
        for name in ("byzantine", "distances", "absences"):
            setattr(self, name, [] if state[name] is None else list(state[name]))
        credits = iter([] if state["credits"] is None else state["credits"])
        self.credits = [next(credits) if told else None for told in state["told"]]


def pairwise_distances(submissions: Tensor) -> Tensor:  # [n, d] -> float32 [n, n]
    """Distances between submissions, infinite from and to those that are not finite."""
    distances = torch.full((len(submissions), len(submissions)), torch.inf).fill_diagonal_(0.0)
    finite = kernels.finite_rows(submissions)
    if finite.any():
        kept = kernels.squared_distances(submissions[finite]).sqrt().float()  # [kept, kept]
        distances[(finite[:, None] & finite).cpu()] = kept.flatten().cpu()
    return distances
