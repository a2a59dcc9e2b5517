"""What GAAPlus makes of submissions that are the same."""

from __future__ import annotations

import pytest
import torch

from gaa_core import conformance, seeding
from gaa_core.aggregators import GAAPlus
from gaa_core.aggregators.gaa_plus.copies import Copies, Likeness
from gaa_core.aggregators.gaa_plus.mind import Mind

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
    for _ in range(50):  # Byzantine workers of whom none is like another
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
    mind.copies.known, mind.bearings.byzantine = 1.0, 0.0
    trust[:3] = 0.9
    assert not any(mind.unclear(odds, trust, alike) for _ in range(40))


def test_who_trusted_copies_looks_again_when_a_single_one_comes():
    """Ten Byzantine workers who send the same, and no worker to compare them with; then one of them turns honest."""
    copies = Copies(10)
    all_workers = torch.full((4,), 4.0, dtype=torch.float64)
    for _ in range(20):
        copies.credit(torch.full((4,), 0.25, dtype=torch.float64), all_workers)
    assert not copies.deceived(beside=0.0) and copies.deceived(beside=1.0)

    mind = Mind(GAAPlus(), 4, 3, seeding.generator(0, "agent"))
    mind.scout, mind.copies = None, copies
    mind.beliefs.reputation.learn(torch.full((4,), 2.0, dtype=torch.float64), torch.ones(4, dtype=torch.float64))
    mind.look_again()
    assert mind.scout is not None and not copies.deceived(beside=1.0)
    assert mind.beliefs.reputation.prior().unique().numel() == 1  # nothing that was learned from them stays


def test_without_reconnaissance_it_begins_anew_without_it():
    mind = Mind(GAAPlus(use_warm_up=False), 4, 3, seeding.generator(0, "agent"))
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


ALONE = torch.full((4,), 4.0, dtype=torch.float64)


def met(singles: float, copies: float, steps: int = 20) -> Likeness:
    """Two trusted single ones whose evidence is about one number, beside two copies whose evidence is about another."""
    likeness, generator = Likeness(rate=0.1), seeding.generator(0, "likeness")
    trust, same = torch.ones(4).double(), torch.tensor([0.0, 0.0, 1.0, 1.0]).double()
    rows = torch.tensor([[1.0, 0.1], [1.0, -0.1], [0.0, 1.0], [0.0, 1.0]])
    for _ in range(steps):
        noise = torch.randn(4, generator=generator, dtype=torch.float64)
        noise[3] = noise[2]
        values = torch.tensor([singles, singles, copies, copies]).double() + noise
        likeness.learn(rows, rows.norm(dim=1).double(), {"memory": values}, trust, same)
    return likeness


def guilt(likeness: Likeness, value: float, alike: torch.Tensor = ALONE) -> float:
    return float(likeness.guilt({"memory": torch.full((4,), value, dtype=torch.float64)}, alike).max())


def test_a_crowd_of_copies_is_judged_by_what_set_copies_apart_from_the_trusted():
    """Byzantine workers who shift the mean by the spread of the honest: beside two of these they tell, of one they say
    the same.
    """
    likeness = met(singles=0.0, copies=4.0)
    assert guilt(likeness, 0.0) < 0.05 < 0.95 < guilt(likeness, 4.0)
    assert guilt(likeness, 0.0, THREE_AND_ONE) == 1.0  # beside a single one they are known for what they are
    assert guilt(met(singles=0.0, copies=4.0, steps=5), 0.0) == 1.0  # too early
    assert guilt(likeness, 2.0) > 0.3  # in between


def test_copies_that_are_as_the_trusted_do_no_harm_alone():
    assert guilt(met(singles=0.0, copies=0.0), 0.0) < 0.3
    assert guilt(met(singles=0.0, copies=0.0), 3.0) < 0.3


def test_the_difference_points_from_copies_to_single_ones():
    difference = met(singles=0.0, copies=0.0).difference
    assert difference[0] > 0.9 and difference[1] == pytest.approx(-1.0, abs=1e-5)


def test_copies_of_the_only_honest_one_are_followed_and_those_of_liars_are_not():
    """Two benign workers beside eight Byzantine workers who agree; then all workers say the same, once the truth and
    once the lie.
    """
    rule, server = started(torch.ones(200), 10)
    generator = seeding.generator(0, "rows")

    def honest(count: int) -> torch.Tensor:
        noise = torch.randn(count, 200, generator=generator) / 200**0.5
        return server.qv_gradient() + 0.5 * server.qv_gradient().norm() * noise

    for _ in range(30):
        rows = honest(10)
        rows[2:] = -rows[:2].mean(dim=0)
        submit(rule, server, rows, steps=1)
    assert rule._state.copies.known > 0.9
    for crowd, credit in ((-honest(2).mean(dim=0), 0.0), (honest(1)[0], 1.0)):
        rule.observe(server)
        rows = crowd.expand(10, 200).clone()
        sight = rule._state.see(rows, torch.ones(10, dtype=torch.bool), slice(None))
        assert float(sight.counts.sum()) == pytest.approx(credit, abs=0.05)  # as one, or not at all
        assert float(rule.decide(rows)[1].sum()) == pytest.approx(credit, abs=0.05)


def test_ten_copies_with_a_grain_of_trust_are_one_grain():
    mind = Mind(GAAPlus(), 10, 3, seeding.generator(0, "agent"))
    trust, copies = torch.full((10,), 0.1).double(), torch.full((10,), 10.0).double()
    assert float(mind.share_out(trust, copies).sum()) == pytest.approx(0.1)
    assert float(mind.share_out(trust, torch.ones(10).double()).sum()) == pytest.approx(1 - 0.9**10)


def test_it_is_no_error_to_trust_copies_that_do_no_harm():
    copies = Copies(10)
    for _ in range(20):
        copies.credit(torch.full((4,), 0.25, dtype=torch.float64), ALONE, torch.zeros(4, dtype=torch.float64))
    assert copies.credited == 0.0
    assert not copies.deceived(beside=1.0)


def test_how_copies_looked_is_forgotten_with_whom_it_was_learned_from():
    mind = Mind(GAAPlus(), 4, 2, seeding.generator(0, "agent"))
    mind.likeness = met(singles=0.0, copies=4.0)
    mind.forget()
    assert mind.likeness.steps == 0 and mind.likeness.difference is None
    mind.likeness = met(singles=0.0, copies=4.0)
    mind.server = conformance.QuadraticServer(torch.ones(2), torch.ones(4, dtype=torch.bool))
    mind.memory.standing, mind.bearings.first, mind.scout = -1.9, 1.0, None
    against = torch.ones(4, dtype=torch.float64)
    mind.try_memory({"qv": -against, "memory": against}, against)
    assert "memory" not in mind.likeness.looks  # it was reversed: what it showed was the opposite
