"""Pictures: one style a rule everywhere, axes in and out, nothing set globally, files whole or not at all."""

import json

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from gaa_core import plots, roles
from gaa_core.aggregators import REGISTRY
from gaa_core.trace import Trace


def trace(rule="GAA()", steps=40, n=10, credits=True, seed=0):
    random = np.random.default_rng(seed)
    byzantine = roles.randomized(n, 7, period=5, seed=seed).table(steps).numpy()
    table = pd.DataFrame(
        {
            "step": range(steps),
            "qv_loss": np.linspace(2, 1, steps),
            "accuracy": np.where(np.arange(steps) % 10 == 9, random.random(steps), np.nan),
            "byzantine_ratio": byzantine.mean(axis=1),
            "seconds": 0.01,
            "nonfinite": 0,
        }
    )
    given = random.dirichlet(np.ones(n), steps) if credits else np.full((steps, n), np.nan)
    settings = {"rule": rule, "title": "MNIST", "attack": "GradientReversion(scale=1.0)", "roles": "randomized(...)"}
    return Trace(settings, table, given.astype(np.float32), byzantine)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_every_registered_rule_has_one_style_and_the_named_ones_differ():
    assert all(set(plots.rule_style(cls.__name__)) == {"color", "linestyle", "marker"} for cls in REGISTRY.values())
    named = [tuple(style) for style in plots.RULE_STYLES.values()]
    assert len({(colour, str(line)) for colour, line, _ in named}) == len(named)
    assert plots.rule_style("Krum(f=3)") == plots.rule_style("Krum(f=1)")
    assert plots.rule_style("GAA(norm_bound=2.0, policy_lr=0.05)") != plots.rule_style("GAA()")


def test_drawing_returns_the_axes_it_was_given_and_leaves_the_settings_alone():
    before = dict(mpl.rcParams)
    fig, axes = plots.panels(4, columns=2)
    traces = [trace(), trace(seed=1), trace("Mean()", credits=False)]
    assert plots.accuracy(traces, ax=axes[0]) is axes[0]
    assert plots.credits(traces[0], ax=axes[1]) is axes[1]
    assert plots.byzantine_credit(traces[:1], ax=axes[2]) is axes[2]
    assert plots.schedule(roles.static(10, 3), ax=axes[3], steps=20) is axes[3]
    fig.canvas.draw()
    assert dict(mpl.rcParams) == before


def test_several_seeds_are_one_line_with_a_band_and_one_legend_entry():
    ax = plots.accuracy([trace(), trace(seed=1), trace("Mean()")])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["GAA", "Mean"]
    assert len(ax.collections) == 1


def test_a_rule_without_credits_cannot_be_drawn_as_credits():
    with pytest.raises(ValueError, match=r"Mean\(\) has no weights"):
        plots.credits(trace("Mean()", credits=False))


def test_credit_lines_have_a_panel_per_worker_and_shade_the_spells():
    one = trace()
    fig = plots.credit_lines(one)
    assert len(fig.axes) == one.credits.shape[1]
    spells = np.diff(np.concatenate([[0], one.byzantine[:, 0].astype(int)])).clip(min=0).sum()
    assert len(fig.axes[0].patches) == spells
    assert not fig.axes[9].patches


def test_final_accuracy_and_gaps_draw_every_rule():
    rows = [
        {"rule": rule, "ratio": ratio, "accuracy": 0.9 - ratio * place, "seed": seed}
        for place, rule in enumerate(["Mean()", "GAA()"])
        for ratio in (0.1, 0.5)
        for seed in range(3)  # three equal values, whose mean may lie a rounding error beside them
    ]
    ax = plots.final_accuracy(pd.DataFrame(rows), reference=0.9)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["no attack, Mean", "Mean", "GAA"]
    table = pd.DataFrame({"a": [1.0, np.nan], "b": [0.2, 30.0]}, index=["Mean()", "Krum(f=3)"])
    assert "-" in [text.get_text() for text in plots.gap_heatmap(table).texts]


def test_saving_describes_the_figure_and_repeats_to_the_byte(tmp_path):
    description = {"caption": "A caption.", "alt": "A picture.", "data_source": "made up", "claim": "C2"}
    for name in ("one", "two"):
        fig, axes = plots.panels(1)
        plots.accuracy(trace(), ax=axes[0])
        plots.save(fig, name, folder=tmp_path, notebook="01_mnist", **description)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert json.loads((tmp_path / "one.json").read_text())["data_source"] == "made up"
    assert {path.name for path in tmp_path.iterdir()} == {"one.png", "two.png", "one.json", "two.json"}


def test_drawing_leaves_a_notebook_s_backend_as_it_is():
    """The first figure of a notebook makes matplotlib interactive; undone, no later figure would be shown."""
    before, grid = mpl.is_interactive(), mpl.rcParams["axes.grid"]

    def first_figure(number):
        mpl.interactive(True)
        return f"{number:g}"

    try:
        plots.bars({"a": 1.0}, ax=plots.panels(1)[1][0], fmt=first_figure)
        assert mpl.is_interactive()
        assert mpl.rcParams["axes.grid"] == grid
    finally:
        mpl.interactive(before)
