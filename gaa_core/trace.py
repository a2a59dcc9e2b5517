"""Trace: what one training run leaves behind. Settings, a table by step, a table by worker; saved without pickle."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from gaa_core.errors import DataError, GaaError
from gaa_core.files import read_json, write, write_json

#: Written last, by rename: a folder without it was never finished and is refused by every reader.
RECORD = "record.json"

#: All that a saved run consists of.
FILES = ("config.json", "metrics.npz", "credits.npz", RECORD)


@dataclass(frozen=True, eq=False)
class Trace:
    """One run: who was Byzantine, who was trusted, and what became of the model.

    `steps` has a row a step: `step, loss` (mean training loss of the benign workers at theta_t), `qv_loss` (f_B at
    theta_t), `reward` (f_B(theta_t) - f_B(theta_{t+1})), `byzantine_ratio`, `nonfinite` (submissions masked),
    `refused` and `rolled_back` (whether the rule declared so, see ParameterServer),
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
        """Write settings, tables and, last, the record that makes the folder count as done; returns the folder.

        Replaces an older run in one exchange. Any other folder that holds something is refused by `check_place`.
        """
        folder = check_place(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", suffix=".pending", dir=folder.parent) as beside:
            new, old = Path(beside) / "new", Path(beside) / "old"
            write_json(new / "config.json", plain(self.settings, "settings"))
            np.savez_compressed(new / "metrics.npz", **{name: self.steps[name].to_numpy() for name in self.steps})
            np.savez_compressed(new / "credits.npz", credits=self.credits, byzantine=self.byzantine, **self.extras)
            write(new / RECORD, json.dumps(self.summary()))  # may hold a NaN
            if folder.exists():
                folder.replace(old)
            try:
                new.replace(folder)
            except OSError:
                if old.exists():
                    old.replace(folder)
                raise
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Trace:
        """Read a saved run. A folder that is missing, unfinished or damaged raises DataError."""
        folder = Path(folder)
        if not (folder / RECORD).is_file():
            raise DataError(f"{folder} is not a finished run: it has no {RECORD}. Run it again.")
        try:
            settings = read_json(folder / "config.json")
            steps = pd.DataFrame(_read_arrays(folder / "metrics.npz"))
            arrays = _read_arrays(folder / "credits.npz")
        except Exception as error:
            raise DataError(f"{folder} holds a damaged run ({error}). Delete it and run it again.") from error
        return cls(settings, steps, arrays.pop("credits"), arrays.pop("byzantine"), arrays)


def check_place(folder: str | Path) -> Path:
    """The absolute path of a folder that a run may be saved to: new, empty, or a saved run and nothing else.

    Raises GaaError for every other, so that no file of somebody else is lost.
    """
    folder = Path(folder).expanduser().resolve()
    if not folder.exists():
        return folder
    if not folder.is_dir():
        raise GaaError(f"{folder} is a file: a run is saved in a folder of its own.")
    found = {path.name for path in folder.iterdir()}
    strangers = sorted(found - set(FILES))
    if strangers:
        raise GaaError(f"{folder} holds '{strangers[0]}', which is no part of a saved run: name a new folder.")
    try:
        settings = read_json(folder / "config.json") if found else {"rule": "", "case": ""}
    except (OSError, DataError):
        settings = None
    if not isinstance(settings, dict) or not {"rule", "case"} <= settings.keys():
        raise GaaError(f"{folder} is not empty and not a saved run of this package: name a new folder.")
    return folder


def plain(value: object, name: str = "value") -> object:
    """`value` as JSON keeps it: scalars and arrays of numpy and torch become numbers and lists, paths become text.

    Raises GaaError, which names the part, for what cannot be saved.
    """
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)  # torch.__version__ is a kind of str, np.float64 one of float
    if isinstance(value, Mapping):
        return {str(key): plain(part, f"{name}.{key}") for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part, f"{name}[{at}]") for at, part in enumerate(value)]
    if callable(getattr(value, "tolist", None)):
        return plain(value.tolist(), name)
    if value is None or isinstance(value, Path):
        return None if value is None else str(value)
    raise GaaError(
        f"{name} is a {type(value).__name__}, which cannot be saved: expected numbers, text or lists of them."
    )


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
        """One step; the last two where distances [n, n] are kept and where workers can fail (int8 [n])."""
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
        if self.absences:
            extras["absences"] = torch.stack(self.absences).numpy()  # [steps, n]
        return Trace(dict(self.settings), steps, credits, byzantine, extras)


def read_record(folder: Path) -> dict | None:
    """The summary of a finished run, or None where there is none. A damaged one raises DataError."""
    return read_json(folder / RECORD) if (folder / RECORD).is_file() else None


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)
