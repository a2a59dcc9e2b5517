"""Resuming a run: what a Simulation must remember, taken out and put back. The rest follows from its arguments."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

from gaa_core import checkpoint
from gaa_core.aggregators.base import LearningAggregator
from gaa_core.errors import GaaError

if TYPE_CHECKING:
    from gaa_core.simulator import Simulation

#: Settings that may differ between the run that wrote a checkpoint and the one that goes on.
_FREE = ("versions", "engine")


def save_checkpoint(simulation: Simulation, path: str | Path) -> None:
    """Write where the run stands between two steps: parameters, memory of the rule and of the attack, rows so far."""
    rule, attack = simulation.rule, simulation.attack
    state = {
        "settings": simulation.recorder.settings,
        "step": simulation.server.step,
        "parameters": simulation.server.parameters,
        "kept": simulation.server.kept,
        "rule": rule.state() if isinstance(rule, LearningAggregator) else None,
        "attack": _memory(attack),
        "recorder": simulation.recorder.state(),
        "method": getattr(simulation.engine, "method", None),
    }
    checkpoint.write(path, checkpoint.pack(state))


def load_checkpoint(simulation: Simulation, path: str | Path) -> None:
    """Put a fresh Simulation where the checkpoint at `path` stands; no such file leaves it at its start.

    Raises GaaError when the checkpoint belongs to a run with other settings, and says with which.
    """
    if not Path(path).is_file():
        return
    state = checkpoint.unpack(checkpoint.read(path))
    _check_settings(state["settings"], simulation.recorder.settings, path)
    server = simulation.server
    server.step, server.parameters = state["step"], state["parameters"].to(server.parameters)
    server.kept = [kept.to(server.parameters) for kept in state.get("kept", [])]  # older files have none
    if state["rule"] is not None:
        simulation.rule.load_state(state["rule"])
    if state["attack"]:
        simulation.attack = copy.copy(simulation.attack)  # the one that the user made stays as it is
        for name, value in state["attack"].items():
            object.__setattr__(simulation.attack, name, value)
    simulation.recorder.load_state(state["recorder"])
    if state["method"] is not None and hasattr(simulation.engine, "method"):
        simulation.engine.method = state["method"]


def _memory(attack: object) -> dict:
    """What an attack has learned in the run: its private attributes. A plain function has none."""
    return {name: value for name, value in getattr(attack, "__dict__", {}).items() if name.startswith("_")}


def _check_settings(before: dict, now: dict, path: str | Path) -> None:
    for name in sorted((before.keys() | now.keys()) - set(_FREE)):
        if before.get(name) != now.get(name):
            raise GaaError(
                f"{path} was written by a run with {name}={before.get(name)!r}; this one has {now.get(name)!r}. "
                "Use the same settings, or another file."
            )
