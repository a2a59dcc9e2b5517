"""Traces: saved whole or not at all, read back equal, never read half."""

import json

import numpy as np
import pandas as pd
import pytest

from gaa_core.errors import DataError
from gaa_core.trace import Trace, read_record


def example(accuracy: float = 0.5) -> Trace:
    steps = pd.DataFrame(
        {
            "step": [0, 1],
            "qv_loss": [2.0, 1.0],
            "accuracy": [np.nan, accuracy],
            "seconds": [0.1, 0.2],
            "nonfinite": [0, 1],
        }
    )
    credits = np.array([[0.5, 0.5], [0.9, 0.1]], dtype=np.float32)
    return Trace({"rule": "Mean()", "case": "mnist"}, steps, credits, np.array([[False, True], [False, True]]))


def test_a_saved_trace_comes_back_equal(tmp_path):
    trace = example()
    loaded = Trace.load(trace.save(tmp_path / "run"))
    pd.testing.assert_frame_equal(loaded.steps, trace.steps)
    assert np.array_equal(loaded.credits, trace.credits) and np.array_equal(loaded.byzantine, trace.byzantine)
    assert loaded.settings == trace.settings and loaded.accuracy == 0.5


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


def test_saving_leaves_no_pending_files_and_replaces_the_older_run(tmp_path):
    example(0.5).save(tmp_path / "run")
    example(0.75).save(tmp_path / "run")
    assert Trace.load(tmp_path / "run").accuracy == 0.75
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_tidy_table_has_a_row_per_step_and_worker():
    frame = example().to_frame()
    assert list(frame.columns) == ["step", "worker", "credit", "byzantine"]
    assert frame.query("step == 1 and worker == 0")["credit"].item() == pytest.approx(0.9)
    assert frame["byzantine"].sum() == 2


def test_the_record_is_plain_json(tmp_path):
    folder = example().save(tmp_path / "run")
    assert json.loads((folder / "record.json").read_text())["accuracy"] == 0.5
