"""What GAAPlus makes of submissions that are the same."""

from __future__ import annotations

import pytest
import torch

from gaa_core import conformance, seeding
from gaa_core.aggregators import GAAPlus
from gaa_core.aggregators.copies import Copies
from gaa_core.aggregators.mind import Mind

THREE_AND_ONE = torch.tensor([3.0, 3.0, 3.0, 1.0], dtype=torch.float64)


def started(target: torch.Tensor, n: int) -> tuple[GAAPlus, conformance.QuadraticServer]:
    rule = GAAPlus()
    rule.reset(n, len(target), seeding.generator(0, "agent"))
    return rule, conformance.QuadraticServer(target, torch.ones(n, dtype=torch.bool))


def submit(rule: GAAPlus, server: conformance.QuadraticServer, rows: torch.Tensor, steps: int) -> None:
    for _ in range(steps):
        rule.observe(server)
        rule.decide(rows)


def test_copies_are_doubted_beside_a_single_one_and_also_alone_once_it_is_known():
    copies = Copies(10)
    trust = torch.tensor([0.9, 0.9, 0.9, 0.8], dtype=torch.float64)
    doubted, shown = copies.doubt(trust, THREE_AND_ONE)
    assert doubted[:3].max() < 0.2 and doubted[3] == 0.8 and shown == pytest.approx(0.8)
    alone = torch.full((4,), 4.0, dtype=torch.float64)
    assert torch.equal(copies.doubt(trust, alone)[0], trust)  # nothing is known against them
    copies.expose(shown, rate=1.0)
    assert copies.doubt(trust, alone)[0].max() < 0.2


def test_being_single_speaks_for_a_worker_only_where_liars_are_copies():
    copies = Copies(10)
    assert not copies.log_odds(THREE_AND_ONE).any()
    singles = torch.ones(4, dtype=torch.float64)
    for _ in range(50):  # liars of whom none is like another
        copies.learn(torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64), singles)
    assert not copies.log_odds(THREE_AND_ONE).any()
    for _ in range(50):
        copies.learn(torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64), THREE_AND_ONE)
    odds = copies.log_odds(THREE_AND_ONE)
    assert odds[3] > 2 and not odds[:3].any()


def test_known_copies_are_not_among_the_liars_who_hide():
    copies = Copies(10)
    assert copies.hidden(THREE_AND_ONE).tolist() == [1.0] * 4
    copies.expose(1.0, rate=1.0)
    assert copies.hidden(THREE_AND_ONE).tolist() == [0.0, 0.0, 0.0, 1.0]


def test_known_copies_do_not_silence_the_honest_when_evidence_fades():
    mind = Mind(GAAPlus(), 10, 3, seeding.generator(0, "agent"))
    alike = torch.tensor([1.0] * 3 + [7.0] * 7, dtype=torch.float64)
    trust = torch.tensor([0.6, 0.6, 0.6] + [0.0] * 7, dtype=torch.float64)
    odds = {"length": torch.zeros(10), "reputation": torch.zeros(10)}
    mind.bearings.was_clear = True
    for kind in mind.beliefs.kinds.values():
        kind.steps, kind.known, kind.mean, kind.variance, kind.other_variance = 50, 50.0, 0.0, 1.0, 1.0
    unknown = [mind.unclear(odds, trust, alike) for _ in range(40)]
    assert unknown[-1]
    mind.copies.known, mind.bearings.liars = 1.0, 0.0
    trust[:3] = 0.9
    assert not any(mind.unclear(odds, trust, alike) for _ in range(40))


def test_who_trusted_copies_looks_again_when_a_single_one_comes():
    """Ten liars who send the same, and nobody to compare them with; then one of them turns honest."""
    copies = Copies(10)
    everybody = torch.full((4,), 4.0, dtype=torch.float64)
    for _ in range(20):
        copies.credit(torch.full((4,), 0.25, dtype=torch.float64), everybody)
    assert not copies.deceived(beside=0.0) and copies.deceived(beside=1.0)

    mind = Mind(GAAPlus(), 4, 3, seeding.generator(0, "agent"))
    mind.scout, mind.copies = None, copies
    mind.beliefs.reputation.learn(torch.full((4,), 2.0, dtype=torch.float64), torch.ones(4, dtype=torch.float64))
    mind.look_again()
    assert mind.scout is not None and not copies.deceived(beside=1.0)
    assert mind.beliefs.reputation.prior().unique().numel() == 1  # nothing that was learned from them stays


def test_without_reconnaissance_it_begins_anew_without_it():
    mind = Mind(GAAPlus(use_reconnaissance=False), 4, 3, seeding.generator(0, "agent"))
    mind.look_again()
    assert mind.scout is None


def test_a_single_one_beside_those_it_trusted_sends_it_out_again():
    """The copies say nothing of f_B, so that no vote has borne them out."""
    axes = torch.eye(50)
    rule, server = started(-axes[0], n=4)
    rows = axes[1].repeat(4, 1)
    submit(rule, server, rows, rule.warm_up + 15)
    assert rule._state.scout is None and rule._state.copies.credited > 0.5
    submit(rule, server, torch.cat([rows[:3], axes[:1]]), 1)
    assert rule._state.scout is not None


def test_the_evidence_of_being_single_reaches_the_policy(monkeypatch):
    weighed = []
    weigh = Mind.weigh_evidence
    monkeypatch.setattr(Mind, "weigh_evidence", lambda *arguments: weighed.append(weigh(*arguments)) or weighed[-1])
    rows = 1.0 + torch.randn(10, 300, generator=seeding.generator(0, "honest"))
    rows[3:] = -rows[:3].mean(dim=0)
    rule, server = started(-rows[:3].mean(dim=0), n=10)
    submit(rule, server, rows, rule.warm_up + 30)
    single = weighed[-1]["single"]
    assert single[:3].min() > 2 and not single[3:].any()
