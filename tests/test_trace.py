"""Traces: saved whole or not at all, read back equal, never read half."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gaa_core.errors import DataError, GaaError
from gaa_core.trace import Trace, plain, read_record


def example(accuracy: float = 0.5) -> Trace:
    steps = pd.DataFrame({"step": [0, 1], "qv_loss": [2.0, 1.0], "accuracy": [np.nan, accuracy]})
    steps = steps.assign(seconds=[0.1, 0.2], nonfinite=[0, 1])
    credits = np.array([[0.5, 0.5], [0.9, 0.1]], dtype=np.float32)
    return Trace({"rule": "Mean()", "case": "mnist"}, steps, credits, np.array([[False, True], [False, True]]))


def test_a_saved_trace_comes_back_equal(tmp_path):
    trace = example()
    loaded = Trace.load(trace.save(tmp_path / "run"))
    pd.testing.assert_frame_equal(loaded.steps, trace.steps)
    assert np.array_equal(loaded.credits, trace.credits) and np.array_equal(loaded.byzantine, trace.byzantine)
    assert loaded.settings == trace.settings and loaded.accuracy == 0.5
    assert json.loads((tmp_path / "run" / "record.json").read_text())["accuracy"] == 0.5


def test_a_folder_without_its_record_is_refused(tmp_path):
    folder = example().save(tmp_path / "run")
    (folder / "record.json").unlink()
    assert read_record(folder) is None
    with pytest.raises(DataError, match="not a finished run"):
        Trace.load(folder)


@pytest.mark.parametrize("name", ["metrics.npz", "credits.npz", "config.json"])
def test_a_truncated_file_is_an_error_with_the_folder_in_it(tmp_path, name):
    folder = example().save(tmp_path / "run")
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="run holds a damaged run"):
        Trace.load(folder)


def test_the_tidy_table_has_a_row_per_step_and_worker():
    frame = example().to_frame()
    assert list(frame.columns) == ["step", "worker", "credit", "byzantine"]
    assert frame.query("step == 1 and worker == 0")["credit"].item() == pytest.approx(0.9)
    assert frame["byzantine"].sum() == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"thesis.tex": "years of work"}, "holds 'thesis.tex', which is no part of a saved run"),
        ({"config.json": "{}"}, "not a saved run"),
        ({"record.json": "", "notes.txt": ""}, "holds 'notes.txt'"),
        (None, "is a file"),
    ],
)
def test_only_a_saved_run_is_ever_replaced(tmp_path, content, message):
    """Any existing folder was removed, whatever it held."""
    place = tmp_path / "place"
    if content is None:
        place.write_text("mine")
    else:
        place.mkdir()
        for name, text in content.items():
            (place / name).write_text(text)
    before = {path: path.read_text() for path in [place, *place.glob("*")] if path.is_file()}
    with pytest.raises(GaaError, match=message):
        example().save(place)
    assert {path: path.read_text() for path in [place, *place.glob("*")] if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_an_empty_folder_and_a_linked_run_are_fine(tmp_path):
    (tmp_path / "empty").mkdir()
    example(0.5).save(tmp_path / "empty")
    (tmp_path / "link").symlink_to("empty")
    example(0.75).save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and Trace.load(tmp_path / "empty").accuracy == 0.75


def test_when_the_exchange_fails_the_older_run_is_still_there(tmp_path, monkeypatch):
    example(0.5).save(tmp_path / "run")
    replace = Path.replace

    def failing(self, target):
        if self.name == "new":
            raise OSError("disk full")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="disk full"):
        example(0.75).save(tmp_path / "run")
    assert Trace.load(tmp_path / "run").accuracy == 0.5
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_what_cannot_be_saved_is_refused_by_name():
    assert plain({"lr": np.float32(0.5), "n": torch.tensor(3), "at": Path("a")}) == {"lr": 0.5, "n": 3, "at": "a"}
    with pytest.raises(GaaError, match=r"settings\.engine\[1\] is a object, which cannot be saved"):
        plain({"engine": [1, object()]}, "settings")
