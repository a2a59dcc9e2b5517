"""Pictures of what was read: axes in and out, nothing set globally, a moving picture whole or not at all."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gaa_core import plots, roles, trace_plots
from gaa_core.analysis import BEHAVIOURS
from gaa_core.trace import Trace


def trace(steps=30, n=6):
    random = np.random.default_rng(0)
    byzantine = roles.pretense(n, 4, until=10).table(steps).numpy()
    table = pd.DataFrame({"step": range(steps), "qv_loss": 1.0, "reward": 0.0})
    settings = {"rule": "GAA()", "title": "Made up", "attack": "none", "roles": "pretense(...)"}
    return Trace(settings, table, random.dirichlet(np.ones(n), steps).astype(np.float32), byzantine)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_drawing_returns_the_axes_it_was_given_and_leaves_the_settings_alone():
    before = dict(mpl.rcParams)
    fig, axes = plots.panels(5)
    rows = [(name, np.linspace(-1, 1, 30)) for name in BEHAVIOURS for _ in range(2)]
    curve = (np.array([0.0, 1.0]), np.array([0.0, 1.0]), 0.5)
    areas = np.array([[np.nan, 0.2, 0.4], [np.nan, 0.4, 0.8]])
    counts = pd.DataFrame(np.eye(5, dtype=int), index=BEHAVIOURS, columns=BEHAVIOURS)
    assert trace_plots.behaviour_map(rows, ax=axes[0]) is axes[0]
    assert trace_plots.roc({"credits": curve, "GeoMed+": curve}, ax=axes[1]) is axes[1]
    assert trace_plots.over_time({"credits": areas}, ax=axes[2]) is axes[2]
    assert trace_plots.confusion(counts, ax=axes[3]) is axes[3]
    assert trace_plots.correlation(np.eye(3), ax=axes[4], order=[2, 0, 1], byzantine=[True, False, False]) is axes[4]
    fig.canvas.draw()
    assert dict(mpl.rcParams) == before
    assert [text.get_text() for text in axes[0].get_yticklabels()] == list(BEHAVIOURS)
    np.testing.assert_allclose(axes[2].lines[0].get_data(), [[1, 2], [0.3, 0.6]])
    labels = axes[4].get_yticklabels()
    assert [text.get_text() for text in labels] == ["2", "0", "1"]
    assert [text.get_color() for text in labels] == [plots.BENIGN, plots.BYZANTINE, plots.BENIGN]


def test_every_behaviour_has_a_colour_of_its_own():
    assert len({trace_plots.BEHAVIOUR_COLOURS[name] for name in BEHAVIOURS}) == len(BEHAVIOURS)


def test_credits_stand_above_the_roles_and_a_turn_is_marked_where_one_was_told():
    one = trace()
    fig = trace_plots.credit_roles({"told": one, "not told": one}, turns={"told": 11.0, "not told": np.nan})
    fig.canvas.draw()
    first, _, second, _ = fig.axes
    assert [len(ax.lines) for ax in (first, second)] == [one.credits.shape[1] + 2, one.credits.shape[1] + 1]
    assert [ax.get_title(loc="left") for ax in (first, second)] == ["told; turn told: step 11", "not told"]


def test_the_moving_picture_has_a_frame_per_span_and_repeats_to_the_byte(tmp_path):
    paths = [trace_plots.animate_credits(trace(), tmp_path / f"{name}.gif", frames=4) for name in "ab"]
    with Image.open(paths[0]) as picture:
        assert picture.n_frames == 4
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"a.gif", "b.gif"}


def test_absences_are_marked_by_reason():
    one = trace(steps=6, n=4)
    one.extras["absences"] = np.zeros((6, 4), dtype=np.int8)
    one.extras["absences"][2, 1], one.extras["absences"][3:5, 1] = 1, 2
    one.settings["absences"] = ["present", "died", "restarting"]
    fig, (ax,) = plots.panels(1)
    plots.credits(one, ax=ax)
    trace_plots.absences(one, ax=ax)
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["died", "restarting"]
    fig.canvas.draw()
