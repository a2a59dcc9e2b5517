"""The playground's controls, pressed without a browser and without a kernel."""

import gc

import pytest

from gaa_core.aggregators import GAA, CoordinateMedian, Krum
from gaa_core.errors import GaaError
from gaa_core.widgets import Playground

SMALL = {"n": 5, "batch_size": 8, "qv_size": 4, "ratio": 0.4}


@pytest.fixture
def playground():
    made = Playground(rules=(GAA(), Krum(f=1)), **SMALL)
    yield made
    made.close()


def press(playground: Playground, button) -> None:
    button.click()
    playground.race.wait()


def test_it_waits_for_start_and_begins_with_the_papers_agent():
    playground = Playground()
    assert playground.race.state == "ready"
    assert bytes(playground.picture.value).startswith(b"\x89PNG")
    assert playground.setup == playground.race.setup
    assert playground.setup.rules == (GAA(),)
    playground.close()


def test_a_step_draws_and_tells(playground):
    before = bytes(playground.picture.value)
    for _ in range(5):
        press(playground, playground.step)
    assert playground.race.step == 5
    assert "step 5." in playground.status.value and "MNIST" in playground.status.value
    assert bytes(playground.picture.value) != before
    assert "GAA" in playground.picture.tooltip and "worker 4" in playground.picture.tooltip


def test_buttons_that_can_do_nothing_are_disabled(playground):
    def enabled():
        names = ("start", "pause", "step", "reset")
        return [name for name in names if not getattr(playground, name).disabled]

    assert enabled() == ["start", "step"]
    playground.start.click()
    assert enabled() == ["pause", "reset"]
    press(playground, playground.pause)
    assert enabled() == ["start", "step", "reset"]
    playground.race.state = "finished"
    playground.hide.value = True
    assert enabled() == ["reset"] and playground.workers.children[1].disabled


def test_a_click_turns_a_worker_and_hidden_roles_are_hidden_everywhere(playground):
    button = playground.workers.children[1 + 4]
    for words, turned in (("4 B", True), ("4", False)):
        button.click()
        assert (button.description, playground.race.roles_next()[4]) == (words, turned)
    press(playground, playground.step)
    shown = bytes(playground.picture.value)
    playground.hide.value = True
    buttons = playground.workers.children[1:]
    assert {button.style.button_color for button in buttons} == {buttons[0].style.button_color}
    assert [button.description for button in buttons] == ["0", "1", "2", "3", "4"]
    assert not any("Byzantine" in button.tooltip for button in buttons)
    assert bytes(playground.picture.value) != shown
    playground.hide.value = False
    assert bytes(playground.picture.value) == shown


def test_settings_take_effect_at_reset(playground):
    playground.settings["lr"].value = 0.2
    assert playground.race.setup.lr == 0.2  # at once before the start
    press(playground, playground.step)
    playground.settings["n"].value = 7
    assert "Reset" in playground.note.value
    assert playground.race.setup.n == 5
    playground.reset.click()
    assert (playground.race.setup.n, playground.race.step, playground.note.value) == (7, 0, "")
    assert len(playground.workers.children) == 1 + 7
    press(playground, playground.step)
    assert playground.race.error == ""


def test_settings_that_cannot_run_are_one_sentence(playground):
    """Krum(f=3) with five workers raised inside an observer, which a notebook shows as a traceback or not at all."""
    playground.f.value = 3
    assert "Krum(f=3) needs at least 9 workers; found 5" in playground.note.value
    assert playground.race.setup.rules == (GAA(), Krum(f=1))
    playground.settings["n"].value = 10
    assert (playground.note.value, playground.race.setup.rules) == ("", (GAA(), Krum(f=3)))


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("wrong", [{"n": 1}, {"rules": (Krum(f=9),)}, {"ratio": "half"}, {"case": None}])
def test_wrong_settings_are_one_error(wrong):
    with pytest.raises(GaaError):
        Playground(**wrong)
    gc.collect()  # a widget that was refused is closed when it is collected


def test_a_rule_chosen_twice_runs_once(playground):
    playground.rules[2].value = playground.rules[0].value
    assert playground.race.setup.rules == (GAA(), Krum(f=1))


def test_a_failure_is_shown_in_the_page(playground, monkeypatch):
    monkeypatch.setattr(playground.race, "_build", lambda: 1 / 0)
    press(playground, playground.start)
    assert "ZeroDivisionError" in playground.status.value
    playground.reset.click()
    press(playground, playground.step)
    assert playground.race.step == 1


def test_a_panel_without_credits_says_why():
    playground = Playground(rules=(CoordinateMedian(),), **SMALL)
    press(playground, playground.step)
    (ax,) = playground._picture._maps
    assert "does not weigh whole submissions" in ax.texts[-1].get_text()
    playground.close()
