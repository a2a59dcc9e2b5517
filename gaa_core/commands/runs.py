"""Single runs: list, run, demo, trace, notebooks."""

import importlib
import json as jsons
import math
import textwrap
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from tqdm import tqdm

from gaa_core.commands import WIDTH, Flag, Words, app, open_page
from gaa_core.errors import GaaError


@app.command(name="list")
def list_names(kind: Literal["rules", "pre", "attacks", "roles", "cases", ""] = "") -> None:
    """Show the rules, pre-aggregators, attacks, roles and cases that exist, one a line."""
    from gaa_core import aggregators, attacks, cases, roles

    kinds = {"rules": aggregators.REGISTRY, "pre": aggregators.PRE_AGGREGATORS, "attacks": attacks.REGISTRY}
    for name, known in {**kinds, "roles": roles.REGISTRY, "cases": cases.REGISTRY}.items():
        if kind in ("", name):
            print(name)
            width = max(map(len, known), default=0)
            for key, thing in sorted(known.items()):
                line = getattr(thing, "title", None) or (thing.__doc__ or "").strip().split("\n")[0]
                print(f"  {key:{width}}  {textwrap.shorten(line, WIDTH - width - 4, placeholder=' ...')}")


@app.command
def run(
    case: str,
    /,
    *,
    rule: Words,
    attack: Words = None,
    roles: Words = None,
    n: int | None = None,
    steps: int | None = None,
    lr: float | None = None,
    batch_size: int | None = None,
    qv_size: int | None = None,
    qv_source: str = "golden",
    partition: str = "iid",
    seed: int = 0,
    device: str = "cpu",
    json: Flag = False,
    save: Path | None = None,
    plot: Path | None = None,
) -> None:
    """Train one case under one rule, and print what came of it.

    Parameters
    ----------
    case: a name such as mnist, or my.py:name
    rule: name and parameters, as in --rule krum f=3 or --rule my.py:Half
    attack: as in --attack gradient_reversion scale=10
    roles: who is Byzantine when, as in --roles static byzantine=7
    n: workers
    lr: step size of the model
    batch_size: samples per worker
    qv_size: samples in the quasi-validation set
    qv_source: where they come from
    json: print one machine-readable line
    save: folder for the trace, which Trace.load reads
    plot: file for the picture of the run, PNG or PDF
    """
    from gaa_core import aggregators, attacks, cases, registry, simulator, trace

    study = registry.lookup("case", case, cases.REGISTRY)
    if not isinstance(study, cases.CaseStudy):
        raise GaaError(f"'{case}' is a {type(study).__name__}; expected a CaseStudy.")
    if save is not None:
        trace.check_place(save)
    if plot is not None:
        _check_picture(plot)
    known, context = importlib.import_module("gaa_core.roles").REGISTRY, {"n": n or study.settings.n, "seed": seed}
    total = steps or study.settings.steps
    with _progress(total) as bar:
        found = simulator.run(
            study,
            registry.build("rule", rule, aggregators.REGISTRY),
            attack=registry.build("attack", attack, attacks.REGISTRY) if attack else None,
            roles=registry.build("role schedule", roles, known, **context) if roles else None,
            **{"n": n, "steps": steps, "lr": lr, "batch_size": batch_size, "qv_size": qv_size, "seed": seed},
            **{
                "qv_source": qv_source,
                "partition": partition,
                "device": device,
                "progress": lambda done: bar.update(done - bar.n),
            },
        )
    if save is not None:
        found.save(save)
    if plot is not None:
        _draw([found], plot)
    _tell(found, as_json=json)


def _tell(trace, as_json: bool) -> None:
    """A run as one line of JSON, or as a table with accuracy as a line of characters and the last credits."""
    result = {name: _finite(value) for name, value in (trace.settings | trace.summary()).items()}
    if as_json:
        print(jsons.dumps(result, sort_keys=True, allow_nan=False))
        return
    for name in ("title", "data", "rule", "attack", "roles", "n", "steps", "seed", "accuracy", "qv_loss", "seconds"):
        value = result[name]
        print(f"{name:10} {value:.4g}" if isinstance(value, float) else f"{name:10} {value}")
    looks = trace.steps["accuracy"].dropna()
    print(f"{'':10} {_sparkline(looks)}  {100 * looks.iloc[0]:.0f} -> {100 * looks.iloc[-1]:.0f} %")
    if trace.has_credits:
        marks = (f"{c:.2f}{'*' if b else ''}" for c, b in zip(trace.credits[-1], trace.byzantine[-1], strict=True))
        print(f"{'credits':10} {textwrap.shorten(' '.join(marks), WIDTH - 11)}  (* Byzantine)")


def _sparkline(values) -> str:
    """Numbers from 0 to 1 as blocks of eight heights."""
    return "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * value))] for value in values)


def _finite(value: object) -> object:
    """A diverged run has infinite losses, which JSON cannot say: null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _progress(steps: int) -> tqdm:
    """A bar on stderr where a person looks on."""
    return tqdm(total=steps, unit="step", disable=None, leave=False)


def _check_picture(path: Path) -> None:
    from gaa_core import style  # slow to import

    style.check_place(path)


def _draw(traces: list, path: Path) -> Path:
    """The picture of runs: accuracy and the credits of the last one."""
    from gaa_core import plots

    plots.save(plots.story(traces), path)
    print(f"picture    {path.resolve()}")
    return path.resolve()


@app.command
def demo(
    *, out: Path = Path("demo.png"), steps: int = 300, only_print: Annotated[Flag, Parameter("--print")] = False
) -> None:
    """One picture in about a minute: four rules, seven of ten workers Byzantine from a third of the run on.

    Parameters
    ----------
    out: file for the picture
    steps: of each of the four runs
    only_print: print the path and open nothing
    """
    from gaa_core import cases, roles, simulator
    from gaa_core.aggregators import GAA, GAAPlus, Krum, Mean
    from gaa_core.attacks import GradientReversion

    _check_picture(out)
    rules, turn, traces = [Mean(), Krum(f=3), GAA(), GAAPlus()], roles.pretense(10, 7, until=steps // 3), []
    options = {"lr": 0.05, "batch_size": 64, "steps": steps, "eval_every": max(1, steps // 25)}
    options["progress"] = lambda done: bar.update()
    with _progress(len(rules) * steps) as bar:
        for rule in rules:
            traces.append(simulator.run(cases.MNIST, rule, attack=GradientReversion(), roles=turn, **options))
    for trace in traces:
        looks = trace.steps["accuracy"].dropna()
        print(f"{trace.rule:10} {_sparkline(looks)}  {trace.accuracy:.1%}")
    open_page(_draw(traces, out), only_print)


@app.command(name="trace")
def show_trace(run: Path, /, *, html: Path) -> None:
    """Write a saved run as one page of HTML to play with, which asks for nothing else.

    Parameters
    ----------
    run: folder of a saved run, as run --save and sweeps leave it
    html: the file to write
    """
    from gaa_core import gallery as pages
    from gaa_core.trace import Trace

    print(pages.trace_page(Trace.load(run), html).resolve())


@app.command
def notebooks(folder: Path, /) -> None:
    """Copy the notebooks into a folder, for those who installed the package without a clone."""
    import shutil

    from gaa_core.reproduce import notebooks_folder

    target = folder.expanduser().resolve() / "notebooks"
    if target.exists():
        raise GaaError(f"{target} exists already: name another folder.")
    shutil.copytree(notebooks_folder(), target, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    print(f"{target}\nStart JupyterLab there, or run python -m gaa_core reproduce in {target.parent}.")
