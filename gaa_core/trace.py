"""Trace: what one training run leaves behind. Settings, a table by step, a table by worker; saved without pickle."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from gaa_core.errors import DataError

#: Written last, by rename: a folder without it was never finished and is refused by every reader.
RECORD = "record.json"


@dataclass(frozen=True, eq=False)
class Trace:
    """One run: who was Byzantine, who was trusted, and what became of the model.

    `steps` has a row a step: `step, loss` (mean training loss of the benign workers at theta_t), `qv_loss` (f_B at
    theta_t), `reward` (f_B(theta_t) - f_B(theta_{t+1})), `byzantine_ratio`, `nonfinite` (submissions masked),
    `refused`, `rolled_back` and `alone` (whether the rule declared so, see ParameterServer),
    `accuracy` (on the test set after the step, NaN where not evaluated), `seconds`.
    `credits` is [steps, n], NaN where the rule has no weights; `byzantine` is bool [steps, n]. In `extras`:
    `class_accuracy` [classes] after the last step (NaN where the test set lacks a class) and `qv_composition`, QV
    samples of each class. Runs on real workers also have `missing` in `steps` (submissions that did not come, or were
    refused; they are among the masked) and `absences` int8 [steps, n] in `extras`: the reason, a position in
    `settings["absences"]`. `model` is the trained network in evaluation mode; it is not saved, so None after `load`.
    """

    settings: dict
    steps: pd.DataFrame
    credits: np.ndarray
    byzantine: np.ndarray
    extras: dict[str, np.ndarray] = field(default_factory=dict)
    model: nn.Module | None = field(default=None, repr=False)

    @property
    def accuracy(self) -> float:
        """Test accuracy after the last step, in [0, 1]."""
        return float(self.steps["accuracy"].iloc[-1])

    @property
    def missing_accuracy(self) -> float:
        """Mean test accuracy over the classes that the QV set lacks; NaN where it lacks none."""
        missing = self.extras["qv_composition"] == 0
        return float(np.nanmean(self.extras["class_accuracy"][missing])) if missing.any() else float("nan")

    @property
    def rule(self) -> str:
        """The rule's name with its hyper-parameters, as in plot labels."""
        return self.settings["rule"]

    @property
    def has_credits(self) -> bool:
        """Whether the rule told whom it trusted."""
        return bool(np.isfinite(self.credits).any())

    def to_frame(self) -> pd.DataFrame:
        """Tidy table, a row per step and worker: step, worker, credit, byzantine."""
        steps, n = self.credits.shape
        return pd.DataFrame(
            {
                "step": np.repeat(np.arange(steps), n),
                "worker": np.tile(np.arange(n), steps),
                "credit": self.credits.ravel(),
                "byzantine": self.byzantine.ravel(),
            }
        )

    def summary(self) -> dict:
        """The figures of the run as one flat, JSON-ready row; `missing_accuracy` where the QV set lacks classes."""
        lacks = (self.extras.get("qv_composition", np.ones(1)) == 0).any()
        return {
            "accuracy": self.accuracy,
            "qv_loss": float(self.steps["qv_loss"].iloc[-1]),
            "seconds": float(self.steps["seconds"].sum()),
            "nonfinite": int(self.steps["nonfinite"].sum()),
            **({"missing": int(self.steps["missing"].sum())} if "missing" in self.steps else {}),
            **({"missing_accuracy": self.missing_accuracy} if lacks else {}),
        }

    def save(self, folder: str | Path) -> Path:
        """Write settings, tables and, last, the record that makes the folder count as done. Replaces an older run."""
        folder = Path(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        pending = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".pending", dir=folder.parent))
        try:
            _write_json(pending / "config.json", self.settings)
            np.savez_compressed(pending / "metrics.npz", **{name: self.steps[name].to_numpy() for name in self.steps})
            np.savez_compressed(pending / "credits.npz", credits=self.credits, byzantine=self.byzantine, **self.extras)
            _write_json(pending / RECORD, self.summary())
            if folder.exists():
                shutil.rmtree(folder)
            pending.chmod(0o755)
            pending.replace(folder)
        finally:
            shutil.rmtree(pending, ignore_errors=True)
        return folder

    @classmethod
    def load(cls, folder: str | Path, *, without: Collection[str] = ()) -> Trace:
        """Read a saved run. A folder that is missing, unfinished or damaged raises DataError.

        Extras named in `without` stay on the disk: the distances of a long run take most of the time.
        """
        folder = Path(folder)
        if not (folder / RECORD).is_file():
            raise DataError(f"{folder} is not a finished run: it has no {RECORD}. Run it again.")
        try:
            settings = json.loads((folder / "config.json").read_text())
            steps = pd.DataFrame(_read_arrays(folder / "metrics.npz"))
            arrays = _read_arrays(folder / "credits.npz", without)
        except Exception as error:
            raise DataError(f"{folder} holds a damaged run ({error}). Delete it and run it again.") from error
        return cls(settings, steps, arrays.pop("credits"), arrays.pop("byzantine"), arrays)


def read_record(folder: Path) -> dict | None:
    """The summary of a finished run, or None where there is none."""
    try:
        return json.loads((folder / RECORD).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except json.JSONDecodeError as error:
        raise DataError(f"{folder / RECORD} is damaged ({error}). Delete the folder and run it again.") from error


def _read_arrays(path: Path, without: Collection[str] = ()) -> dict[str, np.ndarray]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files if name not in without}


def _write_json(path: Path, value: dict) -> None:
    with path.open("w") as file:
        json.dump(value, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
