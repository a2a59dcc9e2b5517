"""The explorer's controls, moved without a browser and without a kernel."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from gaa_core.widgets import TraceExplorer
from gaa_core.widgets.panels import NO_DISTANCES


@pytest.fixture
def explorer(made_up, tmp_path):
    made = TraceExplorer(made_up(), export_to=tmp_path)
    yield made
    made.close()


def pictures(explorer) -> tuple[bytes, bytes]:
    return bytes(explorer.credits.value), bytes(explorer.submissions.value)


def test_slider_and_player_begin_together(explorer):
    assert explorer.step.value == explorer.play.value == explorer.step_box.value == 0
    assert explorer.step.max == explorer.play.max == explorer.step_box.max == 39


def test_moving_draws_and_tells(explorer):
    before = pictures(explorer)
    explorer.step.value = 30
    after = pictures(explorer)
    assert after[0] != before[0] and after[1] != before[1]
    assert explorer.told.value.startswith("Step 30: precision")
    assert "step 30" in explorer.submissions.tooltip
    explorer.step.value = 0
    assert pictures(explorer)[0] == before[0]  # nothing of the other step is left in it


def test_the_threshold_judges_anew(explorer):
    explorer.step.value = 30
    told, before = explorer.told.value, pictures(explorer)
    explorer.below.value = 150
    assert explorer.told.value != told
    assert pictures(explorer)[1] != before[1]


def test_another_worker_is_another_line(explorer):
    before = pictures(explorer)
    explorer.worker.value = 5
    assert pictures(explorer)[0] != before[0]
    assert "worker 5" in explorer.credits.tooltip


@pytest.mark.parametrize(("kind", "button"), [("png", "save_png"), ("svg", "save_svg")])
def test_the_current_view_is_exported(explorer, tmp_path, kind, button):
    explorer.step.value = 12
    getattr(explorer, button).click()
    (path,) = tmp_path.glob("*")
    assert path.name == f"GAA_step_12.{kind}"
    assert path.name in explorer.saved.value
    if kind == "png":
        assert len(np.unique(np.asarray(Image.open(path)))) > 20
    else:
        assert "<svg" in path.read_text(encoding="utf-8")


def test_an_export_that_fails_is_told(made_up, tmp_path):
    (tmp_path / "file").touch()
    explorer = TraceExplorer(made_up(), export_to=tmp_path / "file" / "folder")
    explorer.save_png.click()
    assert "not written" in explorer.saved.value


def test_a_run_without_distances_says_so(made_up):
    explorer = TraceExplorer(made_up(distances=False))
    assert explorer._panels[1].note.get_text() == NO_DISTANCES
    explorer.step.value = 3
    assert explorer._panels[1].note.get_text() == NO_DISTANCES


def test_a_rule_without_credits_can_be_looked_at(made_up):
    explorer = TraceExplorer(made_up(credits=False))
    explorer.step.value = 3
    explorer.worker.value = 2
    assert "gives no credits" in explorer.told.value


def test_a_folder_of_runs(made_up, tmp_path):
    for seed, steps in enumerate((40, 20)):
        made_up(steps, seed=seed).save(tmp_path / f"run{seed}")
    explorer = TraceExplorer(tmp_path)
    explorer.step.value = 35
    explorer.run.value = 1
    assert (explorer.step.value, explorer.step.max, explorer.view.steps) == (0, 19, 20)
    assert explorer.view.title.endswith("seed 1")


def test_a_run_that_was_damaged_meanwhile_is_told(made_up, tmp_path):
    for seed in range(2):
        made_up(seed=seed).save(tmp_path / f"run{seed}")
    explorer = TraceExplorer(tmp_path)
    (tmp_path / "run1" / "credits.npz").write_bytes(b"no")
    explorer.run.value = 1
    assert "damaged" in explorer.told.value
    explorer.run.value = 0
    assert explorer.told.value.startswith("Step 0")


def test_every_control_says_what_it_is(explorer):
    named = [explorer.run, explorer.step_box, explorer.worker, explorer.below_box, explorer.save_png, explorer.save_svg]
    assert all(control.description for control in named)
    assert all(control.tooltip for control in (explorer.step, explorer.below, explorer.play))
