"""Pictures of traces: accuracy, credits, both beside each other."""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gaa_core.errors import GaaError, one_of
from gaa_core.style import (
    BENIGN,
    BYZANTINE,
    house_style,
    outside_legend,
    panels,
    rule_name,
    rule_style,
    shared_legend,
    styled,
)
from gaa_core.trace import Trace

#: Credits are coloured by the doublings between them and a fair share 1/n, up to this many in either direction.
CREDIT_SPAN = 4
CREDIT_MAP = mpl.colors.LinearSegmentedColormap.from_list(
    "credit", ["#5a2000", BYZANTINE, "#f7f7f7", BENIGN, "#00263e"]
).with_extremes(bad="#b5b5b5")
#: A worker that changes its role more often than this is outlined as one.
MOST_CHANGES = 24

#: Settings in which the seeds of one experiment differ, and what says nothing about it.
_SEEDS_DIFFER = {"seed", "versions", "method", "threads", "device"}
#: What follows from the case, so that no line needs it in its text.
_OF_CASE = {"title", "data", "stand_in", "fingerprint", "classes", "metric"}


@styled
def accuracy(
    traces: Trace | Iterable[Trace],
    *,
    ax: Axes,
    by: Sequence[str] = (),
    labels: Mapping | None = None,
    title: str = "",
    legend: bool = True,
    ends: bool = False,
) -> None:
    """Test accuracy against the step: a line for each set of settings, over its seeds their mean and their range.

    `by` names the settings that tell lines apart, such as ("rule", "lr"); without it those that differ. Unlike runs are
    never averaged: GaaError names the settings that `by` lacks. `labels` maps a line's value (a tuple for several) to
    its text. `ends` writes the text at the end of each line instead of a legend.
    """
    traces = [traces] if isinstance(traces, Trace) else list(traces)
    found = _lines(traces, tuple(by))
    variants: dict[str, int] = {}
    for place, (key, runs) in enumerate(found.items()):
        rule = runs[0].rule
        variants[rule] = variants.get(rule, -1) + 1
        table = pd.concat([run.steps.set_index("step")["accuracy"].dropna() for run in runs], axis=1)
        style = rule_style(rule, variants[rule])
        style |= {"linewidth": 1.1 + 1.2 * (1 - place / len(found))}  # earlier lines are wider: equal curves both show
        style |= {"markevery": (place / len(found) / 4, 0.25), "markeredgewidth": 0}  # and their markers stand apart
        text = (labels or {}).get(key if len(key) > 1 else key[0], ", ".join(map(_text, key)))
        ax.plot(table.index + 1, table.mean(axis=1), label=text, **style)
        if table.shape[1] > 1:
            low, high = table.min(axis=1), table.max(axis=1)
            ax.fill_between(table.index + 1, low, high, color=style["color"], alpha=0.15, linewidth=0)
    metric = traces[0].settings.get("metric", "accuracy")
    ax.set(xlabel="step", ylabel=f"test {metric}", title=title)
    if metric == "accuracy":
        ax.set_ylim(0, 1)
        ax.yaxis.set_major_formatter(PercentFormatter(1))
    if ends:
        _label_ends(ax)
    elif legend:
        outside_legend(ax)


def _lines(traces: Sequence[Trace], by: tuple[str, ...]) -> dict[tuple, list[Trace]]:
    """Values of `by` (or of the settings that differ, the rule first) -> the traces of that line."""
    if not traces:
        raise GaaError("accuracy needs at least one trace; found none.")
    known = {name for trace in traces for name in trace.settings} - _SEEDS_DIFFER
    for name in by:
        one_of("setting of these traces", name, known)
    differ = sorted(name for name in known if len({_value(trace, name) for trace in traces}) > 1)
    keys = by or ("rule", *(name for name in differ if name != "rule" and name not in _OF_CASE))
    found: dict[tuple, list[Trace]] = {}
    for trace in traces:
        found.setdefault(tuple(_value(trace, name) for name in keys), []).append(trace)
    for key, runs in found.items():
        unlike = [name for name in differ if len({_value(run, name) for run in runs}) > 1]
        if unlike:
            raise GaaError(f"The line {key} would average runs that differ in {', '.join(unlike)}: name it in by=.")
    return found


def _value(trace: Trace, name: str) -> object:
    """A setting, without the seed that a schedule or an attack names."""
    value = trace.settings.get(name)
    return value if isinstance(value, int | float) else re.sub(r",? ?\bseed=\d+", "", str(value))


def _text(value: object) -> str:
    return rule_name(value) if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


def _label_ends(ax: Axes, gap: float = 0.075) -> None:
    """The label of each line at its right end, moved apart to `gap` of the height at least."""
    ends = sorted((line for line in ax.lines if line.get_label()[0] != "_"), key=lambda line: line.get_ydata()[-1])
    low, high = ax.get_ylim()
    heights = [(line.get_ydata()[-1] - low) / (high - low) for line in ends]
    for place in range(1, len(heights)):
        heights[place] = max(heights[place], heights[place - 1] + gap)
    over = max(0.0, heights[-1] - 1.0) if heights else 0.0
    for height, line in zip(heights, ends, strict=True):
        ax.text(1.02, height - over, line.get_label(), color=line.get_color(), va="center", transform=ax.transAxes,
                fontweight="bold")  # fmt: skip


@styled
def credits(trace: Trace, *, ax: Axes, title: str = "", key: bool = True, bins: int = 200) -> None:
    """Credit map, a row per worker: log2(credit / fair share), blue above and orange below, on one scale everywhere.

    Black outlines hold the spells in which workers are Byzantine; a dashed one holds more spells than can be drawn.
    Grey is a step without any credit. Long runs are averaged in `bins` spans. `key` adds colour bar and legend.
    GaaError for a rule without credits.
    """
    if not trace.has_credits:
        raise GaaError(f"{trace.rule} has no weights, so there are no credits to draw.")
    steps, n = trace.credits.shape
    edges = np.unique(np.linspace(0, steps, min(bins, steps) + 1).astype(int))
    credit = np.stack([trace.credits[a:b].mean(axis=0) for a, b in itertools.pairwise(edges)])  # [bins, n]
    credit[~(credit.sum(axis=1) > 0)] = np.nan
    doublings = np.log2(np.maximum(credit * n, 2.0**-CREDIT_SPAN))
    limits = {"vmin": -CREDIT_SPAN, "vmax": CREDIT_SPAN, "cmap": CREDIT_MAP}
    ax.pcolormesh(edges, np.arange(n + 1), np.ma.masked_invalid(doublings).T, rasterized=True, **limits)
    if np.isnan(doublings).any():
        ax.plot([], [], "s", color=CREDIT_MAP.get_bad(), label="no credit given")
    _outline(ax, trace.byzantine)
    loss = trace.steps["qv_loss"].to_numpy()
    if not np.isfinite(loss).all():
        words = f"model diverged at step {int((~np.isfinite(loss)).argmax())}"
        box = {"facecolor": "white", "linewidth": 0.5, "pad": 2}
        ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", bbox=box)
    ax.set(xlabel="step", ylabel="worker", xlim=(0, steps), ylim=(n, 0), title=title or rule_name(trace.rule))
    shown = np.arange(0, n, max(1, n // 5))
    ax.set_yticks(shown + 0.5, [str(worker) for worker in shown])
    ax.grid(False)
    if key:
        _credit_bar(ax.figure, [ax])
        outside_legend(ax, entry=3.0)


def _outline(ax: Axes, byzantine: np.ndarray) -> None:
    """Lines around the spells of bool [steps, n]; where they are too many, around all of them."""
    crowded = np.diff(byzantine.astype(int), axis=0).astype(bool).sum(axis=0).max(initial=0) > MOST_CHANGES
    held = byzantine
    if crowded:
        during = np.flatnonzero(byzantine.any(axis=1))
        held = np.zeros_like(byzantine)
        held[during[0] : during[-1] + 1] = byzantine.any(axis=0)
    padded = np.pad(held, 1)
    across, down = padded[1:-1, 1:] != padded[1:-1, :-1], padded[1:, 1:-1] != padded[:-1, 1:-1]
    lines = [[(a, w), (b, w)] for w, edges in enumerate(across.T) for a, b in _runs(edges)]
    lines += [[(t, a), (t, b)] for t, edges in enumerate(down) for a, b in _runs(edges)]
    if lines:
        label = "Byzantine in some of these steps" if crowded else "Byzantine"
        options = {"color": "black", "linewidth": 0.9, "linestyle": "--" if crowded else "-", "clip_on": False}
        ax.add_collection(LineCollection(lines, label=label, **options))


def _runs(flags: np.ndarray) -> np.ndarray:
    """First and one past the last place of each run of True, [runs, 2]."""
    return np.flatnonzero(np.diff(np.pad(flags.astype(int), 1))).reshape(-1, 2)


def _credit_bar(fig: Figure, axes: Sequence[Axes]) -> None:
    bar = fig.colorbar(axes[0].collections[0], ax=list(axes), pad=0.02, fraction=0.05, aspect=15)
    half = CREDIT_SPAN // 2
    texts = [f"1/{2**CREDIT_SPAN}", f"1/{2**half}", "fair share", f"{2**half}x", f"{2**CREDIT_SPAN}x"]
    bar.set_ticks([-CREDIT_SPAN, -half, 0, half, CREDIT_SPAN], labels=texts)
    bar.outline.set_visible(False)


def credit_panels(traces: Mapping[str, Trace], *, columns: int = 3) -> Figure:
    """One credit map for each named trace, with one colour bar and one legend."""
    fig, axes = panels(len(traces), columns=columns, height=1.7, sharey=True)
    for ax, (name, trace) in zip(axes, traces.items(), strict=True):
        credits(trace, ax=ax, title=name, key=False)
        ax.label_outer()
    with house_style():
        _credit_bar(fig, axes)
    shared_legend(fig, axes, entry=2.3)
    return fig


def story(traces: Iterable[Trace]) -> Figure:
    """Accuracy of some rules, labelled at the lines, and beside it the credits of one of them (of GAA first)."""
    traces = list(traces)
    weighing = sorted((t for t in traces if t.has_credits), key=lambda t: not t.rule.startswith("GAA"))
    of = weighing[0] if weighing else None
    fig, axes = panels(1 if of is None else 2, width="text", height=2.3)
    accuracy(traces, ax=axes[0], ends=True, title="Does training survive?")
    ratio, n = traces[0].steps["byzantine_ratio"].to_numpy(), traces[0].byzantine.shape[1]
    start = int((ratio > 0).argmax())
    if start > 0:
        with house_style():
            axes[0].axvline(start, color="black", linestyle=":", linewidth=0.9)
            axes[0].text(start, 0.015, f" {round(ratio[start] * n)} of {n} turn")
    if of is not None:
        credits(of, ax=axes[1], title=f"Which workers does {rule_name(of.rule)} trust?")
    return fig
