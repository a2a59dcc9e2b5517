"""The house style: one look for all pictures, one colour a rule everywhere, and how a figure is saved.

Nothing is set globally: the style applies inside functions that are `styled`, and in `panels`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gaa_core import report

STYLE = {
    **sns.axes_style("ticks", {"axes.grid": True, "grid.color": "#e6e6e6", "grid.linewidth": 0.7}),
    **sns.plotting_context("paper", font_scale=1.05),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "font.family": "DejaVu Sans",
}

#: Name of a rule as in its repr -> (colour, line style, marker). Colours keep apart for the colour-blind; styles help
#: in grey.
RULE_STYLES: dict[str, tuple[str, str | tuple, str]] = {
    "GAA": ("#0072b2", "-", "o"),
    "GAA(norm_bound": ("#56b4e9", "-", "s"),
    "GAAPlus": ("#d55e00", "-", "*"),
    "Oracle": ("#000000", ":", "P"),
    "ServerOnly": ("#7f7f7f", ":", "X"),
    "Mean": ("#8c8c8c", "--", "v"),
    "LinearGAR": ("#b8a88a", "--", "<"),
    "Krum": ("#cc3311", "--", "^"),
    "MultiKrum": ("#ee7733", "-.", "^"),
    "Bulyan": ("#aa3377", "-.", "D"),
    "BruteForce": ("#998800", "--", ">"),
    "GeoMed": ("#228833", "--", "h"),
    "GeometricMedian": ("#009e73", "-.", "H"),
    "CoordinateMedian": ("#ddaa33", "--", "d"),
    "TrimmedMean": ("#cc79a7", "-.", "p"),
}
_OTHERS = ("#6a3d9a", "#b15928", "#1b9e77", "#e7298a", "#66a61e", "#a6761d", "#7570b3", "#1f78b4", "#33a02c", "#fb9a99")

BENIGN, BYZANTINE = "#0072b2", "#d55e00"

ROLE_MAP = mpl.colors.LinearSegmentedColormap.from_list("roles", ["#f2f2f2", BYZANTINE])


def rule_style(rule: str) -> dict:
    """Line properties of a rule by its repr: colour, line style, marker; the same in every figure."""
    name = rule.split("(")[0]
    key = "GAA(norm_bound" if rule.startswith(("GAA(norm_bound", "GAA, bounded")) else name
    if key in RULE_STYLES:
        colour, line, marker = RULE_STYLES[key]
    else:
        place = sum(name.encode())
        colour, line, marker = _OTHERS[place % len(_OTHERS)], ("-", "--", "-.")[place % 3], "osvD^P"[place % 6]
    return {"color": colour, "linestyle": line, "marker": marker}


def rule_name(rule: str) -> str:
    """A rule's repr as a legend shows it: `Mean()` is `Mean`, the norm-bounded agent is `GAA, bounded`."""
    if rule.startswith("GAA(norm_bound"):
        return "GAA, bounded"
    return rule.removesuffix("()")


@contextmanager
def house_style(**more) -> Iterator[None]:
    """The house style inside a `with`; afterwards those settings, and no others, are as they were.

    Matplotlib's own rc_context puts everything back. The first figure of a notebook loads its backend and makes it
    interactive; undone, no later figure would be shown.
    """
    wanted = STYLE | more
    before = {name: mpl.rcParams[name] for name in wanted}
    mpl.rcParams.update(wanted)
    try:
        yield
    finally:
        mpl.rcParams.update(before)


def styled(draw):
    """Run a drawing function in the house style, and on fresh axes when it is given none."""

    @functools.wraps(draw)
    def wrapper(data, *, ax: Axes | None = None, **options):
        with house_style():
            if ax is None:
                _, ax = plt.subplots(figsize=(6.0, 3.6), layout="constrained")
            draw(data, ax=ax, **options)
            return ax

    return wrapper


def panels(
    count: int, *, columns: int | None = None, width: float = 4.6, height: float = 3.2, **options
) -> tuple[Figure, np.ndarray]:
    """A figure with `count` axes, at most `columns` (default 3) a row; the axes as a flat array."""
    columns = min(count, columns or 3)
    rows = math.ceil(count / columns)
    with house_style():
        fig, axes = plt.subplots(
            rows, columns, figsize=(width * columns, height * rows), layout="constrained", squeeze=False, **options
        )
    for empty in axes.flat[count:]:
        empty.remove()
    return fig, axes.ravel()[:count]


def outside_legend(ax: Axes) -> None:
    """A legend right of the axes, where it hides nothing."""
    with mpl.rc_context(STYLE):
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0, fontsize=8, handlelength=2.6)


def shared_legend(fig: Figure, axes: Sequence[Axes]) -> None:
    """One legend under all panels, each entry once, in as many columns as the figure is wide."""
    entries: dict[str, object] = {}
    for ax in axes:
        for handle, text in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(text, handle)
    with house_style():
        fig.legend(
            entries.values(),
            entries.keys(),
            loc="outside lower center",
            ncols=max(2, int(fig.get_figwidth() / 1.35)),
            fontsize=8,
            handlelength=2.6,
        )


def save(
    fig: Figure,
    name: str,
    *,
    folder: str | Path,
    caption: str,
    alt: str,
    data_source: str,
    claim: str | Iterable[str] = (),
    notebook: str = "",
) -> Path:
    """Write `<folder>/<name>.png` and its description beside it, both whole or not at all; the path of the picture."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pending = folder / f".{name}.pending.png"
    with house_style():
        fig.savefig(pending, metadata={"Software": None})  # no version inside: equal pictures are equal files
    path = pending.replace(folder / f"{name}.png")
    report.write_sidecar(path, caption=caption, alt=alt, data_source=data_source, claim=claim, notebook=notebook)
    return path
