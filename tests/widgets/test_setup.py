"""What can be chosen in the playground, and that the text of a choice says it again."""

from __future__ import annotations

import pytest
import torch

from gaa_core import aggregators, attacks, roles
from gaa_core.errors import GaaError, UnknownName
from gaa_core.widgets.setup import LiveRoles, Setup, offered_attacks, offered_rules, text_of


def test_agents_come_first_and_impossible_rules_not_at_all():
    texts = list(offered_rules(n=10, f=3))
    agents = [text.startswith("GAA") for text in texts]
    assert agents == sorted(agents, reverse=True)
    assert "Krum(f=3)" in texts
    assert not any(text.startswith("Bulyan") for text in texts)  # 4f + 3 = 15 workers
    assert "Bulyan(f=1)" in offered_rules(n=10, f=1)


@pytest.mark.parametrize(("n", "f"), [(2, 0), (4, 1), (10, 3), (11, 2)])
def test_every_offered_rule_accepts_its_workers(n, f):
    for rule in offered_rules(n, f).values():
        rule.check_workers(n)


def test_rules_are_made_anew():
    """Learning rules have a state that two playgrounds must not share."""
    setup = Setup(rules=("GAA()",))
    assert setup.make_rules()[0] is not setup.make_rules()[0]


@pytest.mark.parametrize("text", [*offered_rules(10, 2), *offered_attacks()])
def test_texts_are_code(text):
    if text != "none":
        made = eval(text, vars(aggregators) | vars(attacks))
        assert text_of(made) == text


@pytest.mark.parametrize("schedule", list(roles.REGISTRY))
def test_the_schedule_as_code_is_the_schedule(schedule):
    setup = Setup(schedule=schedule, ratio=0.4, seed=3)
    again = eval(setup.roles_text(), {"roles": roles})
    assert torch.equal(again.table(250), setup.make_roles().table(250))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"case": "MNITS"}, "MNIST"),
        ({"rules": ("Krum(f=9)",)}, "Krum"),
        ({"rules": ()}, "each once"),
        ({"rules": ("Mean()", "Mean()")}, "each once"),
        ({"attack": "Nothing()"}, "attack"),
        ({"schedule": "statik"}, "static"),
        ({"ratio": 1.2}, "between 0 and 1"),
    ],
)
def test_what_cannot_be_is_refused(wrong, told):
    with pytest.raises(GaaError, match=told):
        Setup(**wrong)


def test_live_roles_remember_what_was_done():
    live = LiveRoles(roles.static(n=4, byzantine=1))
    live.turn(10, 3, True)
    live.turn(20, 3, False)
    live.turn(20, 0, False)
    assert [live(step).tolist() for step in (9, 10, 20)] == [
        [True, False, False, False],
        [True, False, False, True],
        [False, False, False, False],
    ]
    assert live.changes == ((10, 3, True), (20, 3, False), (20, 0, False))


def test_a_later_change_of_a_worker_counts():
    schedule = roles.scripted(roles.none(2), [(3, 1, True), (3, 1, False)])
    assert not schedule(5).any()


@pytest.mark.parametrize(("changes", "told"), [([(-1, 0, True)], "step >= 0"), ([(0, 2, True)], "between 0 and 1")])
def test_scripts_are_checked(changes, told):
    with pytest.raises(GaaError, match=told):
        roles.scripted(roles.none(2), changes)


def test_unknown_names_are_told_with_the_nearest():
    with pytest.raises(UnknownName, match="GradientReversion"):
        Setup(attack="GradientReversal()")
