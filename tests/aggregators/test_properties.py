"""What holds for every rule there is, asked of every rule there is: a new file is tested on arrival."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from gaa_core import aggregators as a
from gaa_core import conformance, errors
from gaa_core.conformance import CHECKS, Subject, check_aggregator
from gaa_core.identity import identity

RULES = conformance.examples(f=2)
PIPES = [
    a.NearestNeighbourMixing(f=2) | a.TrimmedMean(f=2),
    a.NearestNeighbourMixing(f=2) | a.Krum(f=2),
    a.ARC(f=2) | a.CoordinateMedian(),
    a.NormClipping() | a.GeometricMedian(),
    a.Bucketing() | a.TrimmedMean(f=2),
    a.ARC(f=2) | a.NearestNeighbourMixing(f=2) | a.MultiKrum(f=2),
    a.ARC(f=2) | a.FLTrust(),
]
by_repr = pytest.mark.parametrize("rule", RULES + PIPES, ids=repr)


@by_repr
def test_rule_conforms(rule):
    assert "form" in check_aggregator(rule)


@by_repr
def test_a_sweep_can_keep_runs_of_the_rule(rule):
    assert identity(rule) == identity(rule)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_rule_names_its_source(rule):
    assert rule.source.startswith(("paper", "reconstruction", "ours"))
    assert type(rule).__doc__ and "Aggregator(" not in type(rule).__doc__


EXEMPT = [(rule, check) for rule in RULES for check in rule.exempt if not type(rule).__name__.startswith("GAA")]


@pytest.mark.parametrize(("rule", "check"), EXEMPT, ids=repr)
def test_exemption_is_needed(rule, check):
    """A rule that has come to pass a check is exempt from it no longer (agents may differ from one to the next)."""
    if isinstance(rule, a.LinearGAR) and check == "row order":
        rule = a.LinearGAR((0.5, *(0.05,) * 10))
    with pytest.raises(conformance.NonConforming):
        CHECKS[check](Subject(rule, max(rule.needs(), 11), 2))


hostile = st.sampled_from(["nan", "inf", "1e30", "1e19", "scaled", "offset", "identical", "mimic", "zero", "tiny"])


def spoil(rows: torch.Tensor, kind: str) -> torch.Tensor:
    """What a Byzantine worker may make of the submissions [f, d] it should have sent."""
    return {
        "nan": torch.full_like(rows, torch.nan),
        "inf": torch.full_like(rows, -torch.inf),
        "1e30": rows.sign() * 1e30,
        "1e19": torch.full_like(rows, 1e19),
        "scaled": 1e5 * rows,
        "offset": rows + 1e6,
        "identical": rows[:1].repeat(len(rows), 1) + 3.0,
        "mimic": rows[:1].repeat(len(rows), 1),
        "zero": torch.zeros_like(rows),
        "tiny": 1e-38 * rows,
    }[kind]


@by_repr
@settings(max_examples=12)
@given(kind=hostile, other=hostile, d=st.integers(1, 30), exponent=st.integers(-20, 10), seed=st.integers(0, 99))
def test_answer_is_finite_for_any_byzantine_submissions(rule, kind, other, d, exponent, seed):
    subject = Subject(rule, max(rule.needs(), 11), 2)
    rows = torch.randn(subject.n, d, generator=torch.Generator().manual_seed(seed)) * 10.0**exponent
    rows[-2:-1], rows[-1:] = spoil(rows[-2:-1], kind), spoil(rows[-1:], other)
    assert subject.answer(rows, rows[:-2]).isfinite().all()


BOX_RULES = [a.CoordinateMedian(), a.TrimmedMean(f=2), a.MeanAroundMedian(f=2), a.Bulyan(f=2)]


@pytest.mark.parametrize("rule", BOX_RULES, ids=repr)
@settings(max_examples=30)
@given(kind=hostile, d=st.integers(1, 20), exponent=st.integers(-20, 20), seed=st.integers(0, 99))
def test_coordinate_rules_stay_in_the_honest_box(rule, kind, d, exponent, seed):
    rows = torch.randn(11, d, generator=torch.Generator().manual_seed(seed)) * 10.0**exponent
    honest = rows[:9].clone()
    rows[9:] = spoil(rows[9:], kind)
    slack = 1e-5 * honest.abs().amax(dim=0)
    update = rule(rows)
    if isinstance(rule, (a.MeanAroundMedian, a.Bulyan)):  # as far beyond the box as the box is wide
        slack = slack + honest.amax(dim=0) - honest.amin(dim=0)
    assert (update >= honest.amin(dim=0) - slack).all() and (update <= honest.amax(dim=0) + slack).all()


EQUIVARIANT = [rule for rule in RULES if type(rule).__name__ in (
    "BruteForce", "Bulyan", "CAF", "CenteredClipping", "CoordinateMedian", "GeoMed", "GeometricMedian", "Krum",
    "LinearGAR", "MDA", "Mean", "MeanAroundMedian", "MoNNA", "MultiKrum", "SMEA", "TrimmedMean",
)]  # fmt: skip


@pytest.mark.parametrize("rule", EQUIVARIANT, ids=repr)
@settings(max_examples=15)
@given(exponent=st.integers(-60, 60), negative=st.booleans(), seed=st.integers(0, 99))
def test_answer_moves_and_scales_with_the_submissions(rule, exponent, negative, seed):
    """F(s V + c) = s F(V) + c: these rules know no origin and no unit. Powers of two scale without rounding."""
    generator = torch.Generator().manual_seed(seed)
    rows, shift = torch.randn(11, 15, generator=generator), torch.randn(15, generator=generator)
    expected = rule(rows)
    torch.testing.assert_close(rule(rows + shift), expected + shift, rtol=1e-3, atol=1e-3)
    scale = 2.0**exponent * (-1.0 if negative and not isinstance(rule, a.MeanAroundMedian) else 1.0)
    torch.testing.assert_close(rule(scale * rows) / scale, expected, rtol=1e-4, atol=1e-4)


def test_check_aggregator_takes_any_callable():
    passed = check_aggregator(lambda rows: rows.nanmedian(dim=0).values, n=11, f=2)
    assert passed == list(CHECKS)


def test_check_aggregator_says_what_is_wrong():
    def mean_of_squares(rows):
        return rows.square().mean(dim=0)

    with pytest.raises(conformance.NonConforming, match="must answer equal rows"):
        check_aggregator(mean_of_squares)
    with pytest.raises(conformance.NonConforming, match=r"3 benign spreads .* send NaN"):
        check_aggregator(lambda rows: rows.mean(dim=0), f=1)
    with pytest.raises(conformance.NonConforming, match="not change the submissions"):
        check_aggregator(lambda rows: rows.nan_to_num_().sort(dim=0).values[5], n=11)
    assert "outliers" not in check_aggregator(
        lambda rows: rows.mean(dim=0), exceptions={"outliers": "a mean", "outliers far from zero": "a mean"}
    )
    with pytest.raises(errors.GaaError, match="no check 'outlier'"):
        check_aggregator(a.Mean(), exceptions={"outlier": "misspelt"})
