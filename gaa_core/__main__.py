"""python -m gaa_core list | run | reproduce | league | fetch | gallery | bench. Each has --help.

Bad input ends with one line on stderr and exit code 2; a notebook that failed with exit code 1.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import math
import os
import re
import sys
import webbrowser
from pathlib import Path

from gaa_core.errors import GaaError, UnknownName


class _Parser(argparse.ArgumentParser):
    """Raises instead of printing the usage and leaving, so that all bad input is told in one way."""

    def error(self, message: str):
        raise GaaError(f"{self.prog}: {message}.")


def main(arguments: list[str] | None = None) -> int:
    """The exit code of a command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return _dispatch(arguments)
    except GaaError as error:
        print(f"gaa_core: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(
            "gaa_core: interrupted; what was finished is kept, and the same command goes on from there.",
            file=sys.stderr,
        )
        return 130


def _dispatch(arguments: list[str]) -> int:
    parser = _Parser(prog="python -m gaa_core", description="Justinian's GAAvernor, as a reference implementation.")
    commands = parser.add_subparsers(metavar="command", required=True)
    parsers = {name: _command(commands, name, *entry) for name, entry in _COMMANDS.items()}
    word = arguments[0] if arguments else "--help"
    if not word.startswith("-") and word not in parsers:
        raise UnknownName("command", word, parsers)
    if word == "bench":  # has options of its own
        return importlib.import_module("gaa_core.bench").main(arguments[1:]) or 0
    options, rest = parser.parse_known_args(arguments or ["--help"])
    for leftover in rest:
        if leftover.startswith("--"):
            raise UnknownName(f"option of {word}", leftover, set(re.findall(r"--[a-z-]+", parsers[word].format_help())))
        raise GaaError(f"'{leftover}' is one word too many for {word}: see python -m gaa_core {word} --help.")
    return options.action(options)


def _command(commands, name: str, action, describe) -> argparse.ArgumentParser:
    summary = inspect.getdoc(action)
    parser = commands.add_parser(name, help=summary.splitlines()[0], description=summary, allow_abbrev=False)
    parser.set_defaults(action=action)
    describe(parser)
    return parser


def _list_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", nargs="?", default="", help="only rules, attacks, roles or cases")


def _list(options: argparse.Namespace) -> int:
    """Show the rules, attacks, roles and cases that exist, with where each comes from."""
    from gaa_core import aggregators, attacks, cases, roles

    by_class = {"rules": aggregators.REGISTRY, "attacks": attacks.REGISTRY}
    shown = {
        kind: [(name, cls.source, _first_line(cls)) for name, cls in sorted(known.items())]
        for kind, known in by_class.items()
    }
    shown["roles"] = [
        (name, "names: reconstruction; semantics: ours", _first_line(f)) for name, f in roles.REGISTRY.items()
    ]
    shown["cases"] = [(name, "paper", case.title) for name, case in cases.REGISTRY.items()]
    if options.kind and options.kind not in shown:
        raise UnknownName("kind", options.kind, shown)
    for kind, rows in shown.items():
        if options.kind in ("", kind):
            width = max((len(name) for name, *_ in rows), default=0)
            print(kind)
            for name, source, line in rows:
                print(f"  {name:{width}}  {line} [{source}]" if source else f"  {name:{width}}  {line}")
    return 0


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").split("\n")[0]


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("case", help="such as mnist; see python -m gaa_core list cases")
    parser.add_argument("--rule", nargs="+", required=True, metavar="WORD", help="name and parameters: --rule krum f=3")
    parser.add_argument("--attack", nargs="+", metavar="WORD", help="--attack gradient_reversion scale=10")
    parser.add_argument("--roles", nargs="+", metavar="WORD", help="who attacks when: --roles static byzantine=7")
    parser.add_argument("--n", type=int, help="workers")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, help="model step size")
    parser.add_argument("--batch-size", type=int, help="per worker")
    parser.add_argument("--qv-size", type=int, help="samples in the quasi-validation set")
    parser.add_argument("--qv-source", default="golden", help="where they come from")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="print one machine-readable line")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="keep the trace: Trace.load(FOLDER)")


def _run(options: argparse.Namespace) -> int:
    """Train one case under one rule, and print what came of it."""
    from gaa_core import aggregators, attacks, cases, roles, simulator

    if options.case not in cases.REGISTRY:
        raise UnknownName("case", options.case, cases.REGISTRY)
    case = cases.REGISTRY[options.case]
    if bool(options.attack) != bool(options.roles):
        raise GaaError("--attack and --roles belong together: what is submitted, and who submits it when.")
    n = options.n or case.settings.n
    steps = options.steps or case.settings.steps
    with _progress(steps) as advance:
        trace = simulator.run(
            case,
            _build("rule", options.rule, aggregators.REGISTRY),
            attack=_build("attack", options.attack, attacks.REGISTRY) if options.attack else None,
            roles=_schedule(options.roles, roles.REGISTRY, n, options.seed) if options.roles else None,
            progress=advance,
            **{name: getattr(options, name) for name in ("steps", "n", "seed", "lr", "batch_size")},
            **{name: getattr(options, name) for name in ("qv_size", "qv_source", "device")},
        )
    if options.save:
        trace.save(options.save)
    result = _finite(trace.settings | trace.summary())
    if options.json:
        print(json.dumps(result, sort_keys=True, allow_nan=False))
    else:
        for name in (
            "title",
            "data",
            "rule",
            "attack",
            "roles",
            "n",
            "steps",
            "seed",
            "accuracy",
            "qv_loss",
            "seconds",
        ):
            value = result[name]
            print(f"{name:10} {value:.4g}" if isinstance(value, float) else f"{name:10} {value}")
    return 0


def _progress(steps: int):
    """A bar on stderr where a person looks on, as a context whose value is told the number of finished steps."""
    from contextlib import contextmanager

    from tqdm import tqdm

    @contextmanager
    def bar():
        with tqdm(total=steps, unit="step", disable=None, leave=False) as shown:
            yield lambda done: shown.update(done - shown.n)

    return bar()


def _words(words: list[str]) -> tuple[str, dict[str, str]]:
    """["krum", "f=3"] -> ("krum", {"f": "3"})."""
    for word in words[1:]:
        if "=" not in word:
            raise GaaError(f"'{words[0]}' is followed by parameters such as name=value; found '{word}'.")
    return words[0], dict(word.split("=", 1) for word in words[1:])


def _build(kind: str, words: list[str], known: dict[str, type]):
    from gaa_core import registry

    name, params = _words(words)
    try:
        return registry.build(kind, name, params, known)
    except TypeError as error:
        raise GaaError(f"{' '.join(words)}: a parameter has a wrong type ({error}).") from error


def _schedule(words: list[str], known: dict, n: int, seed: int):
    """A role schedule from its words; n comes from the run, and so does the seed unless it is given."""
    name, params = _words(words)
    if name not in known:
        raise UnknownName("role schedule", name, known)
    wanted = inspect.signature(known[name]).parameters
    names = set(wanted) - {"n"}
    given = {}
    for key, text in params.items():
        if key not in names:
            raise UnknownName(f"parameter of {name}", key, names)
        try:
            given[key] = float(text) if key == "beta" else int(text)
        except ValueError:
            raise GaaError(
                f"{name}: {key} must be a {'' if key == 'beta' else 'whole '}number; found '{text}'."
            ) from None
    for key in sorted(names - set(given)):
        if wanted[key].default is inspect.Parameter.empty:
            raise GaaError(f"{name} needs {key}: write e.g. --roles {name} {key}=...")
    if "seed" in names:
        given.setdefault("seed", seed)
    return known[name](n, **given)


def _finite(values: dict) -> dict:
    """A diverged run has infinite losses, which JSON cannot say: null."""
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in values.items()}


def _reproduce_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", default="quick", help="smoke (minutes), quick (the default) or paper (hours)")
    parser.add_argument("--only", nargs="+", action="extend", default=[], metavar="NOTEBOOK", help="such as 01_mnist")
    parser.add_argument("--jobs", type=int, help="processes a notebook may use for its experiments")
    parser.add_argument("--seeds", type=int, help="repetitions of every experiment")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="instead of figures/<profile>")
    parser.add_argument("--results", type=Path, metavar="DIR", help="instead of results")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be run")
    parser.add_argument("--force", action="store_true", help="run what is up to date as well")
    parser.add_argument("--update-readme", action="store_true", help="put the claims table into README.md")


def _reproduce(options: argparse.Namespace) -> int:
    """Build the figures, the claims table and the gallery. Running it again resumes, and reuses what is up to date."""
    from gaa_core import readme, report, reproduce

    names = ("only", "jobs", "seeds", "figures", "results", "dry_run", "force")
    outcomes = reproduce.reproduce(options.profile, **{name: getattr(options, name) for name in names})
    if options.dry_run:
        return 0
    folder = options.figures or reproduce.project_root() / "figures" / options.profile
    table = report.claims_table(folder)
    print("\n" + report.plain(table))
    print(f"Gallery: {folder / 'index.html'}")
    if options.update_readme:
        root = reproduce.project_root()
        print(f"Updated: {readme.update(root / 'README.md', table, os.path.relpath(folder, root))}")
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    for outcome in failed:
        print(f"gaa_core: {outcome.name} failed: {outcome.message}", file=sys.stderr)
    return 1 if failed else 0


def _fetch_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("case", nargs="*", help="such as mnist; all of them without a name")


def _fetch(options: argparse.Namespace) -> int:
    """Download the official data files, with checksums. An interrupted download goes on where it stopped."""
    from gaa_core import datasets

    datasets.fetch(options.case)
    return 0


def _gallery_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", help="the page of one: smoke, quick or paper; without it, the entry to all")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="the page of this folder")
    parser.add_argument("--print", action="store_true", dest="only_print", help="print the path and open nothing")


def _gallery(options: argparse.Namespace) -> int:
    """Open the page of figures and claims in the browser, written anew from what has been built."""
    from gaa_core import gallery, reproduce
    from gaa_core.plan import PROFILES

    if options.profile is not None and options.profile not in PROFILES:
        raise UnknownName("profile", options.profile, PROFILES)
    if options.figures or options.profile:
        page = (options.figures or reproduce.project_root() / "figures" / options.profile) / "index.html"
    else:
        root = reproduce.project_root() / "figures"
        page = gallery.entry(root) or root / "index.html"
    page = page.resolve()
    if not page.is_file():
        profile = f" --profile {options.profile}" if options.profile else ""
        raise GaaError(f"{page} does not exist yet: run python -m gaa_core reproduce{profile}.")
    if not options.only_print:
        webbrowser.open(page.as_uri())
    print(page)
    return 0


def _league_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", default="quick", help="smoke, quick (the default; minutes) or paper (hours)")
    parser.add_argument("--part", nargs="+", action="extend", default=[], metavar="NAME", help="parts of the profile")
    parser.add_argument("--rules", nargs="+", action="extend", default=[], metavar="NAME", help="instead of its rules")
    parser.add_argument("--attacks", nargs="+", action="extend", default=[], metavar="NAME", help="or sampled:200")
    parser.add_argument("--from", type=int, dest="first", default=10_000, help="number of the first sampled attack")
    parser.add_argument("--cases", nargs="+", action="extend", default=[], metavar="NAME", help="such as mnist cms")
    parser.add_argument("--seeds", type=int, help="repetitions of every cell")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="instead of figures/<profile>")
    parser.add_argument("--results", type=Path, metavar="DIR", help="instead of results")
    parser.add_argument("--dry-run", action="store_true", help="only say how many runs there are, and the minutes")


def _league(options: argparse.Namespace) -> int:
    """All rules against all attacks, roles and shares: the ranking and league.csv. Resumable."""
    from gaa_core import files, league, reproduce

    root = reproduce.project_root()
    where = {"results": options.results or root / "results", "jobs": options.jobs}
    wished = {name: getattr(options, name) for name in ("rules", "first", "cases", "seeds")}
    sampled = len(options.attacks) == 1 and options.attacks[0].startswith("sampled")
    attacks = options.attacks[0] if sampled else options.attacks
    chosen = league.parts(options.profile, names=options.part, attacks=attacks, **wished)
    if options.dry_run:
        print(league.outlook(*chosen, **where).to_string(index=False))
        return 0
    table = league.play(*chosen, **where)
    name = "league_sampled.csv" if sampled else "league.csv"
    folder = options.figures or root / "figures" / options.profile
    path = files.write(folder / name, table.to_csv(index=False, float_format="%.6g"))
    print(league.ranking(table))
    print(f"Runs: {path}")
    return 0


def _bench(options: argparse.Namespace) -> int:
    """Time the rules. Options: python -m gaa_core bench --help."""
    return 0


_COMMANDS = {
    "list": (_list, _list_options),
    "run": (_run, _run_options),
    "reproduce": (_reproduce, _reproduce_options),
    "fetch": (_fetch, _fetch_options),
    "gallery": (_gallery, _gallery_options),
    "league": (_league, _league_options),
    "bench": (_bench, lambda parser: None),
}

if __name__ == "__main__":
    sys.exit(main())
