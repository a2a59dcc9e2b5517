"""python -m gaa_core bench: how long one aggregation takes, alone or beside another library."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch

from gaa_core import files, report, speed_plots
from gaa_core.bench.contenders import MOST_PARAMETERS, MOST_WORKERS, OURS, PEERS, SECONDS, TARGETS, load_peer
from gaa_core.bench.timing import STANDARD, speed_table
from gaa_core.errors import UnknownName

__all__ = [
    "MOST_PARAMETERS",
    "MOST_WORKERS",
    "OURS",
    "PEERS",
    "SECONDS",
    "STANDARD",
    "TARGETS",
    "load_peer",
    "main",
    "speed_table",
]

BEGIN, END = "<!-- speed:begin -->", "<!-- speed:end -->"


def main(argv: list[str] | None = None) -> int:
    """Print a table: milliseconds, read passes over the input, the most that is allowed, and the peer's time."""
    options = _options(argv)
    unknown = [name for name in options.rules if name not in OURS]
    if unknown:
        raise UnknownName("rule to time", unknown[0], OURS)
    size = (options.n, options.d, options.f)
    table = speed_table(options.rules or list(OURS), *size, options.repeats, options.against, options.threads)
    print(f"n={options.n} d={options.d:,} f={options.f}, float32, {setting(options.threads)}")
    print(f"best of {options.repeats} runs that take turns, {_clock(options.threads)}")
    print(readable(table).to_string(index=False))
    print("A pass is one x.sum() over all submissions; memory is beside the submissions, in units of them.")
    print("best peer: the best of five other libraries, as once recorded in passes on another machine.")
    if options.save:
        save(table, options.save, setting(options.threads), options.readme)
    return 0


def setting(threads: int) -> str:
    """What the times belong to, in words."""
    return f"{threads} thread{'s' if threads > 1 else ''}, {_processor()}, torch {torch.__version__}"


def readable(table: pd.DataFrame) -> pd.DataFrame:
    """The table as it is printed: what is to be reached beside what was, empty where nothing is to be compared."""
    shown = pd.DataFrame({"rule": table["rule"], "ms": table["ms"].map("{:.1f}".format)})
    shown["passes"] = table["passes"].map("{:.1f}".format)
    shown["at most"] = [_bound(row) for row in table.to_dict("records")]
    shown["met"] = ["" if pd.isna(value) else value for value in table["met"]]
    columns = {
        "memory": ("memory", "{:.2f}"),
        "best peer": ("best_peer", "{}"),
        "times faster": ("times", "{:.1f}"),
        "wanted": ("times_wanted", "{:.1f}"),
        "1 thread, ms": ("one_thread_ms", "{:.1f}"),
        "speed-up": ("speedup", "{:.2f}"),
    }
    for peer in table.get("peer", pd.Series(dtype=str)).dropna().unique()[:1]:
        columns |= {f"{peer}, ms": ("peer_ms", "{:,.1f}"), "ratio": ("ratio", "{:.1f}")}
    for name, (column, form) in columns.items():
        if column in table:
            shown[name] = ["" if pd.isna(value) else form.format(value) for value in table[column]]
    return shown


def _bound(row: dict) -> str:
    if row["rule"] in SECONDS:
        return f"{SECONDS[row['rule']]:g} s (d={row['d']:,})"
    most = row.get("most_passes")
    return "" if most is None or pd.isna(most) else f"{most:g}"


def save(table: pd.DataFrame, folder: str | Path, words: str, readme: str | Path | None = None) -> Path:
    """Write speed.csv and the figure `speed` into a folder, and the table into a README between its markers."""
    folder = Path(folder)
    table = table.assign(setting=words)
    files.write(folder / "speed.csv", table.to_csv(index=False, float_format="%.4g"))
    ax = speed_plots.speed(table)
    path = speed_plots.save(ax.figure, table, folder=folder)
    plt.close(ax.figure)
    if readme is not None:
        report.update_block(readme, BEGIN, END, markdown(pd.read_csv(folder / "speed.csv")))
    return path


def markdown(table: pd.DataFrame) -> str:
    """The table of speed as the README has it."""
    shown = readable(table)
    lines = [f"| {' | '.join(row)} |" for row in [list(shown), ["---"] * len(shown.columns), *shown.values.tolist()]]
    n, d, f = table[["n", "d", "f"]].iloc[0]
    return f"One aggregation, n={n}, d={d:,}, f={f}, float32; {table['setting'].iloc[0]}.\n\n" + "\n".join(lines) + "\n"


def _clock(threads: int) -> str:
    return "processor time" if threads == 1 else "time on the clock: only an idle machine tells the truth"


def _processor() -> str:
    """The processor's name where the system tells, else its architecture."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].split(":")[1].strip() if names else platform.machine()


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gaa_core bench", description=__doc__)
    parser.add_argument("rules", nargs="*", help=f"which rules (default all): {', '.join(OURS)}")
    parser.add_argument("--against", choices=sorted(PEERS), help="a library to compare with; install it yourself")
    parser.add_argument("--n", type=int, default=STANDARD[0], help="workers")
    parser.add_argument("--d", type=int, default=STANDARD[1], help="parameters")
    parser.add_argument("--f", type=int, default=STANDARD[2], help="workers that may lie")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--save", metavar="FOLDER", help="write speed.csv and the figure speed.png there")
    parser.add_argument(
        "--readme", metavar="FILE", help="with --save: put the table between the markers of this README"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
