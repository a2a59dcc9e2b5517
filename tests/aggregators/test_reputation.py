"""What GAAPlus thinks of workers beside the evidence of a step: what lasts, and what is believed where they part."""

from __future__ import annotations

import math

import pytest
import torch

from gaa_core import seeding
from gaa_core.agent import EvidencePolicy
from gaa_core.aggregators.gaa_plus import GAAPlus, reputation
from gaa_core.aggregators.gaa_plus.beliefs import Beliefs
from gaa_core.aggregators.gaa_plus.mind import PRIOR, Mind
from gaa_core.aggregators.gaa_plus.reputation import Reputation
from gaa_core.aggregators.gaa_plus.sight import Sight

HORIZONS = (1, 10, 100, 1000)
ONES = torch.ones(10).double()
KNOWN = torch.tensor([4.0] * 7 + [-4.0] * 3).double()  # three of ten lie


def blur(beliefs: Beliefs, spreads: float) -> None:
    """Let the QV gradient and the memory tell the trusted by so many spreads from 0, and not from the distrusted."""
    for kind in (beliefs.kinds["qv"], beliefs.kinds["memory"]):
        kind.steps, kind.known, kind.mean, kind.variance = 50, 50.0, 0.1 * spreads, 0.01


def sight(cosine: torch.Tensor, values: dict[str, torch.Tensor]) -> Sight:
    rows, all_of_them = torch.ones(10, 3), torch.ones(10, dtype=torch.bool)
    return Sight(rows, all_of_them, rows, ONES, values, cosine, ONES, ONES, 0.0)


def after(steps: int, odds: torch.Tensor = KNOWN, found: Reputation | None = None) -> Reputation:
    found = found or Reputation(10, HORIZONS)
    for _ in range(steps):
        found.learn(odds, ONES)
    return found


def test_errors_that_all_share_are_no_change_of_roles(monkeypatch):
    """Now and then a step's evidence is the opposite of the truth for all workers: no reason to forget who lies."""
    found = {}
    for most in (reputation.A_STEP, math.inf):
        monkeypatch.setattr(reputation, "A_STEP", most)
        found[most] = after(30)
        for _ in range(8):
            after(1, -KNOWN, after(3, KNOWN / 4, found[most]))
    capped, free = found.values()
    assert capped._shares()[2:].sum() > 0.99 and free._shares()[2:].sum() < 0.01, "horizons of 100 and more, in sum"
    assert capped.prior()[7:].max() < -3 < free.prior()[7:].min()


@pytest.mark.parametrize("steps", [20, 60])
def test_roles_that_change_are_found_out_in_a_few_steps(steps):
    found = after(steps)
    changed = KNOWN.roll(3)  # other Byzantine workers from now on
    after(6, changed, found)
    assert (found.prior() * changed > 0).all()
    after(14, changed, found)
    assert (found.prior() * changed > 4 * 2).all()


def test_roles_that_keep_changing_are_followed_quicker():
    found, late = after(60), []
    for block in range(1, 7):
        changed = KNOWN.roll(5 * block)
        steps = 0
        while not (found.prior() * changed > 0).all():
            after(1, changed, found)
            steps += 1
        late.append(steps)
        after(10 - steps, changed, found)
    assert late[0] <= 4 and max(late[2:]) <= 2, late


def test_only_who_is_known_for_long_is_established():
    assert Reputation(10, HORIZONS).established() == 0.0
    short, long, fickle = after(20), after(80), Reputation(10, HORIZONS)
    for step in range(80):
        fickle.learn(KNOWN.roll(step), ONES)
    assert fickle.established() < 0.05 and short.established() < 0.2 and long.established() > 0.6
    blocks = Reputation(10, HORIZONS)
    for block in range(4):
        after(20, KNOWN.roll(4 * block), blocks)
    assert blocks.established() < 0.4
    long.forget()
    assert long.established() == 0.0


def test_evidence_that_is_not_believed_does_not_make_the_horizons_fade():
    kept, faded = after(60), after(60)
    before = kept.scores.clone()
    for _ in range(40):
        kept.learn(torch.zeros(10).double(), ONES, faith=0.0)
        faded.learn(torch.zeros(10).double(), ONES)
    assert torch.allclose(kept.scores, before) and faded.scores.abs().max() < 0.5 * before.abs().max()


def test_faith_in_evidence_goes_only_where_reputations_outlast_it():
    beliefs = Beliefs(GAAPlus(), 10)
    blur(beliefs, spreads=0.5)
    assert beliefs.clarity() < 1 and beliefs.faith() == 1.0, "no worker is known yet"
    after(80, found=beliefs.reputation)
    assert beliefs.faith() < 0.4
    blur(beliefs, spreads=10)
    assert beliefs.faith() == 1.0, "they still tell them apart"
    blur(beliefs, spreads=0.5)
    forgetful = Beliefs(GAAPlus(use_reputation=False), 10)
    forgetful.kinds, forgetful.reputation = beliefs.kinds, beliefs.reputation
    assert forgetful.faith() == 1.0, "there is nothing beside it"


def test_reputations_are_told_how_far_evidence_is_believed():
    beliefs, told = Beliefs(GAAPlus(), 10), []
    beliefs.faith = lambda: 0.25
    beliefs.reputation.learn = lambda odds, weights, faith: told.append(faith)
    none = {kind: torch.zeros(10).double() for kind in PRIOR}
    seen = sight(torch.eye(10, dtype=torch.float64), {})
    beliefs.learn(seen, none, ONES, EvidencePolicy(PRIOR, 0.02), young=True)
    beliefs.learn_from_the_clear(seen, KNOWN)
    assert told == [0.25, 1.0], "warm-up finds without any of these beliefs"


def test_who_is_long_known_is_judged_by_that_where_evidence_is_blurred():
    odds = {}
    for established in (False, True):
        mind = Mind(GAAPlus(), 10, 3, seeding.generator(0, "agent"))
        mind.yardstick = 1.0
        blur(mind.beliefs, spreads=1)
        mind.beliefs.agreement.mean, mind.beliefs.agreement.variance = 0.5, 0.01
        if established:
            after(80, found=mind.beliefs.reputation)
        values = {"qv": torch.tensor([-0.3] * 7 + [0.3] * 3).double()}  # for once the opposite
        cosine = torch.full((10, 10), 0.5, dtype=torch.float64).fill_diagonal_(1.0)
        found = mind.weigh_evidence(sight(cosine, values))
        odds[established] = found["qv"]
        trust = mind.policy.trust(found)
        assert (trust[:7] > trust[7:].max()).all() if established else (trust[:7] < trust[7:].min()).all()
        faith = mind.beliefs.faith()
        assert faith < 0.5 if established else faith == 1.0
    assert torch.allclose(odds[True], faith * odds[False]) and odds[False].abs().min() > 0.5


def test_peers_are_believed_no_more_than_the_evidence():
    mind = Mind(GAAPlus(), 10, 3, seeding.generator(0, "agent"))
    mind.yardstick = mind.beliefs.lengths.usual = 1.0
    mind.beliefs.lengths.strange = 0.5
    mind.beliefs.agreement.mean, mind.beliefs.agreement.variance = 0.5, 0.01
    blur(mind.beliefs, spreads=0)
    after(80, found=mind.beliefs.reputation)
    cosine = torch.eye(10, dtype=torch.float64)
    cosine[:7, :7] = 0.5
    seen = sight(cosine.fill_diagonal_(1.0), {})
    faint = mind.weigh_evidence(seen)["peers"]
    mind.beliefs.faith = lambda: 1.0
    full = mind.weigh_evidence(seen)["peers"]
    assert full[0] == 4.0 and 0 < faint[0] < 2.0
