"""The explorer's controls, moved without a browser and without a kernel."""

import pytest

from gaa_core.errors import GaaError
from gaa_core.widgets import TraceExplorer


@pytest.fixture
def explorer(made_up):
    made = TraceExplorer(made_up())
    yield made
    made.close()


def shown(explorer) -> bytes:
    return bytes(explorer.picture.value)


def test_moving_draws_and_tells(explorer):
    before = shown(explorer)
    explorer.step.value = 30
    assert shown(explorer) != before
    assert explorer.told.value.startswith("Step 30: precision")
    assert "Step 30" in explorer.picture.tooltip
    for name, value in (("below", 150), ("worker", 5)):
        drawn, words = shown(explorer), explorer.picture.tooltip
        former, getattr(explorer, name).value = getattr(explorer, name).value, value
        assert shown(explorer) != drawn and explorer.picture.tooltip != words
        getattr(explorer, name).value = former
    explorer.step.value = 0
    assert shown(explorer) == before  # nothing of the other step is left in it


@pytest.mark.parametrize("lacks", ["distances", "credits"])
def test_a_run_that_lacks_something_can_be_read(made_up, lacks):
    explorer = TraceExplorer(made_up(**{lacks: False}))
    explorer.step.value, explorer.worker.value = 3, 2
    assert ("gives no credits" in explorer.told.value) == (lacks == "credits")


def test_a_folder_of_runs_one_of_which_is_damaged_later(made_up, tmp_path):
    for seed, steps in enumerate((40, 20, 20)):
        made_up(steps, seed=seed).save(tmp_path / f"run{seed}")
    explorer = TraceExplorer(tmp_path)
    explorer.step.value = 35
    explorer.run.value = 1
    assert (explorer.step.value, explorer.step.max, len(explorer.trace.byzantine)) == (0, 19, 20)
    (tmp_path / "run2" / "credits.npz").write_bytes(b"no")
    explorer.run.value = 2
    assert "damaged" in explorer.told.value
    explorer.run.value = 0
    assert explorer.told.value.startswith("Step 0")


@pytest.mark.parametrize("source", ["nowhere", [], None, 3, ["no trace"]])
def test_what_holds_no_run_is_refused(source):
    with pytest.raises(GaaError):
        TraceExplorer(source)
