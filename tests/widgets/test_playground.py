"""The playground's controls, pressed without a browser and without a kernel."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from gaa_core.widgets import Playground, cells

SMALL = {"n": 5, "f": 1, "batch_size": 8, "qv_size": 4, "ratio": 0.4}


@pytest.fixture
def playground():
    made = Playground(rules=("GAA()", "Krum(f=1)"), **SMALL)
    yield made
    made.close()


def press(playground: Playground, button) -> None:
    button.click()
    playground.race.wait()


def test_it_waits_for_start(playground):
    assert playground.race.state == "ready"
    assert bytes(playground.curves.value).startswith(b"\x89PNG")
    assert playground.setup == playground.race.setup


def test_start_and_pause(playground):
    seen = threading.Event()
    playground.curves.observe(lambda _: seen.set(), "value")
    playground.start.click()
    assert seen.wait(60)
    press(playground, playground.pause)
    assert playground.race.state == "paused"
    assert f"step {playground.race.step}." in playground.status.value
    assert "MNIST" in playground.status.value


def test_a_step_draws_and_tells(playground):
    before = bytes(playground.curves.value), bytes(playground.bars.value)
    for _ in range(5):
        press(playground, playground.step)
    assert playground.race.step == 5
    assert bytes(playground.curves.value) != before[0]
    assert bytes(playground.bars.value) != before[1]
    assert "GAA" in playground.curves.tooltip and "%" in playground.curves.tooltip
    assert "worker 4" in playground.bars.tooltip


def test_a_click_turns_a_worker(playground):
    button = playground.workers.children[1 + 4]
    assert (button.description, playground.race.roles_next()[4]) == ("4", False)
    button.click()
    assert (button.description, playground.race.roles_next()[4]) == ("4 B", True)
    press(playground, playground.step)
    assert playground.race.traces()[0].byzantine[0].tolist() == [True, True, False, False, True]
    button.click()
    assert (button.description, playground.race.roles_next()[4]) == ("4", False)


def test_hidden_roles_are_not_given_away(playground):
    press(playground, playground.step)
    shown = bytes(playground.bars.value)
    playground.hide.value = True
    buttons = playground.workers.children[1:]
    assert {button.style.button_color for button in buttons} == {buttons[0].style.button_color}
    assert [button.description for button in buttons] == ["0", "1", "2", "3", "4"]
    assert not any("Byzantine" in button.tooltip for button in buttons)
    assert bytes(playground.bars.value) != shown
    playground.hide.value = False
    assert bytes(playground.bars.value) == shown


def test_settings_take_effect_at_reset(playground):
    press(playground, playground.step)
    playground.settings["n"].value = 7
    assert "Reset" in playground.note.value
    assert playground.race.setup.n == 5
    playground.reset.click()
    assert (playground.race.setup.n, playground.race.step, playground.note.value) == (7, 0, "")
    assert len(playground.workers.children) == 1 + 7
    press(playground, playground.step)
    assert playground.race.error == ""


def test_settings_take_effect_at_once_before_the_start(playground):
    playground.settings["lr"].value = 0.2
    assert playground.race.setup.lr == 0.2


def test_rules_that_cannot_run_are_not_offered(playground):
    assert "Krum(f=1)" in dict(playground.rules[1].options).values()
    playground.settings["n"].value = 10
    playground.settings["f"].value = 3
    assert playground.rules[1].value == "Krum(f=3)"  # the same rule, told the new f
    assert playground.rules[0].value == "GAA()"
    playground.settings["f"].value = 4
    assert playground.rules[1].value == "(none)"
    assert "Krum" not in str(playground.rules[1].options)
    assert playground.race.setup.rules == ("GAA()",)


def test_a_rule_chosen_twice_runs_once(playground):
    playground.rules[2].value = "GAA()"
    assert playground.race.setup.rules == ("GAA()", "Krum(f=1)")


def test_copied_settings_are_shown(playground):
    playground.workers.children[1].click()
    playground.copy.click()
    assert playground.code.layout.display is None
    assert playground.code.value == playground.race.code()


def test_a_failure_is_told_in_the_page(playground, monkeypatch):
    monkeypatch.setattr(playground.race, "_build", lambda: 1 / 0)
    press(playground, playground.start)
    assert "ZeroDivisionError" in playground.status.value
    playground.reset.click()
    press(playground, playground.step)
    assert playground.race.step == 1


def test_every_control_says_what_it_is(playground):
    controls = [*playground.settings.values(), *playground.rules, playground.start, playground.pause, playground.step]
    controls += [playground.reset, playground.hide, playground.copy, playground.code, *playground.workers.children[1:]]
    assert all(control.description and control.tooltip for control in controls)


def test_running_a_cell_again_closes_what_it_made(monkeypatch):
    work = iter([("cell", "first"), ("cell", "first"), ("other", "second"), ("cell", "third")])
    monkeypatch.setattr(cells, "_at_work", lambda: next(work))
    pages = [Playground(**SMALL) for _ in range(3)]
    for page in pages:
        page.start.click()
    again = Playground(**SMALL)
    assert [page.race.is_running for page in pages] == [False, False, True]
    pages[2].close()
    again.close()
    assert "gaa-race" not in [thread.name for thread in threading.enumerate()]


def test_the_cell_at_work_is_the_kernels(monkeypatch):
    parent = {"metadata": {"cellId": "abc"}, "header": {"msg_id": "42"}}
    shell = SimpleNamespace(kernel=SimpleNamespace(get_parent=lambda: parent))
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    assert cells._at_work() == ("abc", "42")
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    assert cells._at_work() == (None, None)
