"""The house style: one look for all pictures, one colour and marker a rule everywhere, and how a figure is saved.

Nothing is set globally: the style applies inside functions that are `styled`, in `panels` and in `paper`. Settings that
a user has changed from matplotlib's defaults stay as the user set them. Figures are one column or one text wide, with
type of 8 points at that size.
"""

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gaa_core import files, report
from gaa_core.errors import GaaError, one_of

#: Inches: a column and the whole text of a two-column paper (USENIX: 3.33 and 7).
WIDTHS = {"column": 3.3, "text": 7.0}
POINTS = 8
MOST_PIXELS = 1600

STYLE = {
    **dict.fromkeys(("font.size", "axes.labelsize", "axes.titlesize", "figure.titlesize"), POINTS),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize", "legend.title_fontsize"), POINTS),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **{"axes.grid": True, "axes.axisbelow": True, "grid.color": "#e6e6e6", "grid.linewidth": 0.6},
    **{"axes.titlelocation": "left", "axes.titleweight": "bold", "axes.linewidth": 0.7},
    **{"lines.linewidth": 1.3, "lines.markersize": 4, "xtick.major.width": 0.7, "ytick.major.width": 0.7},
    **{"figure.dpi": 120, "savefig.dpi": 200, "pdf.fonttype": 42, "ps.fonttype": 42},
}

BENIGN, BYZANTINE = "#0072b2", "#d55e00"

#: How a picture says that this package wrote it, and, by kind of file, where it says so and what it leaves out.
MAKER = "gaa_core"
METADATA = {".png": ("Software",), ".pdf": ("Creator", "CreationDate", "Producer"), ".svg": ("Creator", "Date")}

#: Name of a rule as in its repr -> (colour, marker). Two rules either differ by 15 in CIEDE2000 at least, for
#: deuteranopes too, as all do that share a figure of the paper or a case; or in both marker and line style.
RULE_STYLES: dict[str, tuple[str, str | int]] = {
    "GAA": ("#332288", "o"),
    "GAA(norm_bound": ("#9786dc", "s"),
    "GAAPlus": ("#016a49", "*"),
    "Oracle": ("#000000", "P"),
    "ServerOnly": ("#a8009f", "X"),
    "Mean": ("#a8a9a9", "v"),
    "Krum": ("#edb63f", "^"),
    "CoordinateMedian": ("#19918d", "d"),
    "GeoMed": ("#7c3c04", "h"),
    "Bulyan": ("#e30070", "D"),
    "FLTrust": ("#f4343b", "p"),
    "TrimmedMean": ("#814ba8", "<"),
    "GeometricMedian": ("#000d2d", "H"),
    "NearestNeighbourMixing": ("#00e5ff", ">"),
    "CenteredClipping": ("#c77200", "8"),
    "BruteForce": ("#2d565e", "s"),
    "MultiKrum": ("#9a8f1f", "v"),
}
_PALETTE = [colour for colour, _ in RULE_STYLES.values()]
#: Rules that share no figure with many others take the same colours again, with other markers and line styles.
_MORE = "LinearGAR MDA CGE CAF DnC FLAME FedGreed MeanAroundMedian MoNNA SMEA SignGuard Zeno ZenoPlusPlus ByGARS"
_MORE_MARKERS = ("1", "2", "3", "4", "x", "+", mpl.markers.CARETUPBASE, mpl.markers.CARETDOWNBASE)
RULE_STYLES |= {name: (_PALETTE[5 + place % 11], _MORE_MARKERS[place % 8]) for place, name in enumerate(_MORE.split())}
_LINES = ("-", "--", "-.", (0, (1, 1)), ":", (0, (6, 1)), (0, (4, 1, 1, 1, 1, 1)))
#: Name of a rule -> its place in _LINES, where that is not the first.
_LINE_OF = {"ServerOnly": 4, "Oracle": 4, **dict.fromkeys(_MORE.split(), 2)}
_LINE_OF |= dict.fromkeys(("Zeno", "ZenoPlusPlus", "ByGARS", "SMEA"), 6) | {"MultiKrum": 5}
_LINE_OF |= dict.fromkeys(("TrimmedMean", "CenteredClipping", "BruteForce"), 1)


def rule_style(rule: str, variant: int = 0) -> dict:
    """Line properties of a rule by its repr: colour, marker and line style, the same in every figure.

    `variant` counts the lines of one rule in one picture, which differ in their line style.
    """
    name = "GAA(norm_bound" if rule_name(rule) == "GAA, bounded" else rule.split("(")[0].split(" ")[0]
    colour, marker = RULE_STYLES.get(name) or (_PALETTE[sum(name.encode()) % len(_PALETTE)], ".")  # a rule of a user's
    line = _LINES[(_LINE_OF.get(name, 0) + variant) % len(_LINES)]
    return {"color": colour, "marker": marker, "linestyle": line, "markersize": 7 if marker == "*" else 4}


def rule_name(rule: str) -> str:
    """A rule's repr as legends and tables show it: `Mean()` is `Mean`, the norm-bounded agent is `GAA, bounded`."""
    if rule.startswith(("GAA(norm_bound", "GAA, bounded")):
        return "GAA, bounded"
    return rule.removesuffix("()")


@contextmanager
def house_style(**more) -> Iterator[None]:
    """The house style inside a `with`; afterwards those settings, and no others, are as they were.

    Matplotlib's own rc_context puts everything back. The first figure of a notebook loads its backend and makes it
    interactive; undone, no later figure would be shown.
    """
    wanted = {name: value for name, value in STYLE.items() if mpl.rcParams[name] == mpl.rcParamsDefault[name]} | more
    before = {name: mpl.rcParams[name] for name in wanted}
    mpl.rcParams.update(wanted)
    try:
        yield
    finally:
        mpl.rcParams.update(before)


def paper(width: str = "column", height: float = 2.2):
    """The house style for figures of one's own: `with plots.paper("text"): ...`; "column" is 3.3 inches, "text" 7."""
    one_of("width of a figure", width, WIDTHS)
    return house_style(**{"figure.figsize": (WIDTHS[width], height), "figure.constrained_layout.use": True})


def styled(draw):
    """Run a drawing function in the house style, and on fresh axes of one column when it is given none."""

    @functools.wraps(draw)
    def wrapper(data, *, ax: Axes | None = None, **options):
        with house_style():
            if ax is None:
                _, ax = plt.subplots(figsize=(WIDTHS["column"], 2.4), layout="constrained")
            draw(data, ax=ax, **options)
            return ax

    return wrapper


def panels(
    count: int, *, columns: int | None = None, width: str = "", height: float = 2.0, **options
) -> tuple[Figure, np.ndarray]:
    """A figure with `count` axes, at most `columns` (default 3) a row; the axes as a flat array.

    `width` is "column" or "text"; without it one panel gets a column and several the text. `height` is that of a row
    in inches.
    """
    columns = min(count, columns or 3)
    rows = math.ceil(count / columns)
    total = WIDTHS[width or ("column" if count == 1 else "text")]
    with house_style():
        fig, axes = plt.subplots(
            rows, columns, figsize=(total, height * rows), layout="constrained", squeeze=False, **options
        )
    for empty in axes.flat[count:]:
        empty.remove()
    return fig, axes.ravel()[:count]


def outside_legend(ax: Axes, entry: float = 1.1) -> None:
    """A legend below the axes, in columns of `entry` inches."""
    if not ax.get_legend_handles_labels()[0]:
        return
    columns = max(1, int(ax.get_window_extent().width / ax.figure.dpi / entry))
    with house_style():
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=columns, handlelength=2.0, columnspacing=1.0)


def shared_legend(fig: Figure, axes: Sequence[Axes], entry: float = 1.3) -> None:
    """One legend under all panels, each entry once, in columns of `entry` inches."""
    entries: dict[str, object] = {}
    for ax in axes:
        for handle, text in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(text, handle)
    with house_style():
        columns = max(2, int(fig.get_figwidth() / entry))
        fig.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns, handlelength=2.4)


def check_place(picture: str | Path) -> Path:
    """The path of a picture that may be written: new, or a picture of ours. GaaError for every other file."""
    picture = Path(picture)
    if picture.suffix not in METADATA:
        raise GaaError(f"A picture is a .png, .pdf or .svg file; found '{picture}'.")
    if picture.exists():
        signs = {picture: MAKER, picture.with_suffix(".json"): f'"figure": "{picture.stem}.png"'}
        if not any(file.is_file() and sign.encode() in file.read_bytes() for file, sign in signs.items()):
            raise GaaError(f"{picture} was not written by this package, and is not replaced: name another file.")
    return picture


def save(
    fig: Figure,
    name: str,
    *,
    folder: str | Path = ".",
    caption: str = "",
    alt: str = "",
    data_source: str = "",
    claim: str | Iterable[str] = (),
    notebook: str = "",
) -> Path:
    """Write `<folder>/<name>.png`, the same as PDF, and the description beside them; the path of the picture.

    A name that ends in .png, .pdf or .svg writes that file alone, and needs no words. Fonts are embedded as TrueType.
    GaaError where a file stands that this package did not write.
    """
    path = Path(folder) / name
    alone = path.suffix in (".png", ".pdf", ".svg")
    pictures = [path] if alone else [path.with_name(f"{path.name}.pdf"), path.with_name(f"{path.name}.png")]
    for picture in pictures:
        check_place(picture)
    for picture in pictures:
        _write(fig, picture)
    if not alone:
        words = {"caption": caption, "alt": alt, "data_source": data_source, "claim": claim, "notebook": notebook}
        report.write_sidecar(pictures[-1], **words)
    return pictures[-1]


def _write(fig: Figure, path: Path) -> None:
    """One picture, whole or not at all; no date or version inside, so that equal pictures are equal files."""
    maker, *unset = METADATA[path.suffix]
    with house_style(), files.draft(path) as pending:
        dpi = min(mpl.rcParams["savefig.dpi"], MOST_PIXELS / max(fig.get_size_inches()))
        fig.savefig(pending, dpi=dpi, metadata={maker: MAKER, **dict.fromkeys(unset)})
