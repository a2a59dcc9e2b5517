"""Pictures: one style a rule everywhere, colours that can be told apart, unlike runs never averaged, whole files."""

import itertools
import json

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from coloraide import Color
from PIL import Image

from gaa_core import plots, roles, studies
from gaa_core.errors import GaaError, UnknownName
from gaa_core.trace import Trace


def trace(rule="GAA()", steps=40, n=10, credits=True, seed=0, schedule=None, **settings):
    random = np.random.default_rng(seed)
    schedule = schedule or roles.randomized(n, 7, period=5, seed=seed)
    byzantine = schedule.table(steps).numpy()
    table = pd.DataFrame(
        {
            "step": range(steps),
            "qv_loss": np.linspace(2, 1, steps),
            "accuracy": np.where(np.arange(steps) % 10 == 9, random.random(steps), np.nan),
            "byzantine_ratio": byzantine.mean(axis=1),
        }
    )
    given = random.dirichlet(np.ones(n), steps) if credits else np.full((steps, n), np.nan)
    settings = {"rule": rule, "attack": "none", "roles": repr(schedule), "seed": seed, "lr": 0.1, **settings}
    return Trace(settings, table, given.astype(np.float32), byzantine)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


# Colours

#: Which rules are drawn together: the field's standard figure, the paper's Table 1, the case studies.
MEDIANS = "Mean CoordinateMedian TrimmedMean GeometricMedian Krum GAA GAAPlus"
FIGURES = [
    f"{MEDIANS} NearestNeighbourMixing CenteredClipping Oracle GAA(norm_bound",
    f"{MEDIANS} BruteForce GeoMed MultiKrum Bulyan GAA(norm_bound",
    "Mean Krum CoordinateMedian GeoMed Bulyan FLTrust GAA GAA(norm_bound GAAPlus ServerOnly Oracle",
]
CASE_STUDY = ["Krum(f=3)", "Bulyan(f=1)", "FLTrust()", *map(repr, studies.AGENTS), "ServerOnly()", "Oracle()"]


def apart(one, other):
    """CIEDE2000, the lesser of it and of what a deuteranope sees (Machado et al. 2009)."""
    pair = [Color(mpl.colors.to_hex(colour)) for colour in (one, other)]
    blind = [colour.filter("deutan", method="machado").clip() for colour in pair]
    return min(each.delta_e(another, method="2000") for each, another in (pair, blind))


@pytest.mark.parametrize("names", [*(line.split() for line in FIGURES), CASE_STUDY])
def test_rules_that_share_a_figure_can_be_told_apart(names):
    colours = {name: plots.rule_style(name)["color"] for name in names}
    near = {pair for pair in itertools.combinations(names, 2) if apart(*(colours[name] for name in pair)) < 15}
    assert not near
    for colour in (plots.rule_style(repr(agent))["color"] for agent in studies.AGENTS):
        assert min(apart(colour, plots.BENIGN), apart(colour, plots.BYZANTINE)) >= 15


def test_rules_of_like_colours_differ_in_marker_and_line():
    known = {name: plots.rule_style(name) for name in plots.RULE_STYLES}
    alike = [
        (one, other)
        for one, other in itertools.combinations(known, 2)
        if apart(known[one]["color"], known[other]["color"]) < 15
        and any(known[one][trait] == known[other][trait] for trait in ("marker", "linestyle"))
    ]
    assert not alike


def test_every_rule_has_a_colour_and_marker_of_its_own():
    assert len(set(plots.RULE_STYLES.values())) == len(plots.RULE_STYLES)
    assert "." not in {marker for _, marker in plots.RULE_STYLES.values()}, "that is for rules of users"
    assert plots.rule_style("Mine(f=2)")["marker"] == "."
    assert plots.rule_style("Krum(f=3)") == plots.rule_style("Krum(f=1)")
    assert plots.rule_style("GAA(norm_bound=2.0, policy_lr=0.05)") != plots.rule_style("GAA()")


# Traces


def test_drawing_returns_the_axes_it_was_given_and_leaves_the_settings_alone():
    before = dict(mpl.rcParams)
    fig, axes = plots.panels(4, columns=2)
    traces = [trace(), trace(seed=1), trace("Mean()", credits=False)]
    assert plots.accuracy(traces, ax=axes[0]) is axes[0]
    assert plots.credits(traces[0], ax=axes[1]) is axes[1]
    assert plots.bars({"a": 1.0, "b": 2.0}, ax=axes[2]) is axes[2]
    assert plots.lines(pd.DataFrame({"a": [1, 2]}), ax=axes[3], xlabel="x", ylabel="y") is axes[3]
    plots.story(traces)
    fig.canvas.draw()
    assert dict(mpl.rcParams) == before


def test_unlike_runs_are_never_averaged():
    """Two step sizes used to become one line, as did attacked and clean runs."""
    ax = plots.accuracy([trace(), trace(seed=1), trace("Mean()")])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["GAA", "Mean"]
    assert len(ax.collections) == 1, "one line with a band"
    traces = [trace(), trace(seed=1), trace(lr=0.5), trace(attack="Push()")]
    ax = plots.accuracy(traces)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "GAA, none, 0.1",
        "GAA, none, 0.5",
        "GAA, Push, 0.1",
    ]
    assert len({line.get_linestyle() for line in ax.lines}) == 3
    with pytest.raises(GaaError, match="differ in attack"):
        plots.accuracy(traces, by=("rule", "lr"))
    with pytest.raises(UnknownName, match="'lr'"):
        plots.accuracy(traces, by=("rule", "lrr"))
    two = [trace(case="mnist", classes=["0", "1"], method="loop"), trace(case="cms", classes=["low"], seed=3)]
    assert {line.get_label() for line in plots.accuracy(two).lines} == {"GAA, mnist", "GAA, cms"}
    ax = plots.accuracy(traces[:3], by=("lr",), labels={0.1: "small", 0.5: "large"}, ends=True)
    assert {text.get_text() for text in ax.texts} == {"small", "large"}


def test_credits_are_drawn_as_doublings_of_a_fair_share():
    one = trace(steps=4)
    one.credits[:] = np.array([0.8, 0.1, *[0.0125] * 8], dtype=np.float32)
    one.credits[3] = np.nan
    one.steps.loc[3, "qv_loss"] = np.inf
    ax = plots.credits(one)
    drawn = ax.collections[0].get_array().reshape(10, 4)
    np.testing.assert_allclose(drawn[:3, 0], [3.0, 0.0, -3.0], atol=1e-4)
    assert drawn.mask[:, 3].all() and not drawn.mask[:, :3].any()
    assert "model diverged at step 3" in [text.get_text() for text in ax.texts]
    assert "no credit given" in [text.get_text() for text in ax.get_legend().get_texts()]
    with pytest.raises(GaaError, match=r"Mean\(\) has no weights"):
        plots.credits(trace("Mean()", credits=False))


def test_spells_are_outlined_and_too_many_of_them_as_one():
    ax = plots.credits(trace(schedule=roles.pretense(10, 7, until=10)))
    (outline,) = (each for each in ax.collections if each.get_label() == "Byzantine")
    ends = {tuple(sorted(map(tuple, line))) for line in np.asarray(outline.get_segments())}
    assert ends == {((10, 0), (10, 7)), ((40, 0), (40, 7)), ((10, 0), (40, 0)), ((10, 7), (40, 7))}
    many = plots.credits(trace(steps=200, schedule=roles.randomized(10, 7)))
    (outline,) = (each for each in many.collections if "some of" in str(each.get_label()))
    assert len(outline.get_segments()) == 4


# Tables


def rows(rules=("Mean()", "GAA()"), ratios=(0.1, 0.5, 0.9), seeds=3):
    return pd.DataFrame(
        {"rule": rule, "ratio": ratio, "accuracy": 0.9 - ratio * place / 2, "seed": seed}
        for place, rule in enumerate(rules)
        for ratio in ratios
        for seed in range(seeds)  # equal values, whose mean may lie a rounding error beside them
    )


def test_final_accuracies_are_lines_over_many_values_and_bars_over_few():
    ax = plots.by_share(rows(), reference=0.9)
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {"no attack, Mean", "Mean", "GAA"}
    assert not ax.patches
    few = plots.by_share(rows(ratios=(0.1, 0.5)), reference=0.9)
    assert len(few.patches) == 4 and [text.get_text() for text in few.get_xticklabels()] == ["10%", "50%"]


def test_the_claims_matrix_has_a_cell_for_what_was_measured():
    cells = pd.DataFrame(
        {"case": ["MNIST", "CMS"], "claim": ["C2", "C3"], "agent": ["GAA", "GAAPlus"], "gap": [-0.03, 50.0],
         "holds": [4, 0], "settings": [4, 2]}
    )  # fmt: skip
    axes = plots.claims_matrix(cells, {"C2": "minority"}).axes
    assert [text.get_text() for text in axes[0].get_yticklabels()] == ["C2 minority", "C3 "]
    assert [[text.get_text() for text in ax.texts] for ax in axes] == [["0.0\n4/4"], ["50.0\n0/2"]]


# Files


def test_saving_describes_the_figure_and_repeats_to_the_byte(tmp_path):
    words = {"caption": "A caption.", "alt": "A picture.", "data_source": "made up", "claim": "C2"}
    for name in ("one", "two"):
        fig, axes = plots.panels(2, height=9)
        plots.accuracy(trace(), ax=axes[0])
        plots.save(fig, name, folder=tmp_path, notebook="01_mnist", **words)
    for kind in ("png", "pdf"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
    assert json.loads((tmp_path / "one.json").read_text())["data_source"] == "made up"
    assert len(list(tmp_path.iterdir())) == 6
    with Image.open(tmp_path / "one.png") as picture:
        assert max(picture.size) == plots.MOST_PIXELS
    assert b"/CIDFontType2" in (tmp_path / "one.pdf").read_bytes(), "TrueType, as publishers ask"
    (tmp_path / "alone").mkdir()
    assert plots.save(fig, "x.pdf", folder=tmp_path / "alone") == next((tmp_path / "alone").iterdir())


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_only_pictures_of_ours_are_replaced(kind, tmp_path):
    picture, fig = tmp_path / f"x.{kind}", plots.accuracy(trace()).figure
    for _ in range(2):
        plots.save(fig, picture)
    picture.write_bytes(b"not ours")
    with pytest.raises(GaaError, match="not replaced"):
        plots.save(fig, picture)
    assert picture.read_bytes() == b"not ours"


def test_figures_are_a_column_or_a_text_wide_and_users_settings_stay():
    assert [plots.panels(count)[0].get_figwidth() for count in (1, 3)] == [3.3, 7.0]
    with mpl.rc_context({"font.size": 13.0}), plots.paper("text"):
        assert mpl.rcParams["font.size"] == 13.0 and mpl.rcParams["axes.labelsize"] == 8
        assert plt.figure().get_figwidth() == 7.0
    with pytest.raises(UnknownName, match="column"):
        plots.paper("colum")


def test_drawing_leaves_a_notebook_s_backend_as_it_is():
    """The first figure of a notebook makes matplotlib interactive; undone, no later figure would be shown."""
    before = mpl.is_interactive()

    def first_figure(number):
        mpl.interactive(True)
        return f"{number:g}"

    try:
        plots.bars({"a": 1.0}, ax=plots.panels(1)[1][0], fmt=first_figure)
        assert mpl.is_interactive()
    finally:
        mpl.interactive(before)
