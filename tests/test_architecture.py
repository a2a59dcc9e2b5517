"""The floors of the house: imports point down only. And nothing in the repository speaks of one machine."""

import ast
import re
from pathlib import Path

import gaa_core

#: From top to bottom. A module may import those of its own layer and of the layers below.
LAYERS = {
    layer: names.split()
    for layer, names in {
        "command line": "__main__ commands reproduce gallery",
        "studies": "engines flower studies sweep league widgets distributed",
        "simulator": "conformance simulator guard options",
        "parts of a run": "engine server analysis report style plots",
        "rules": "aggregators attacks cases roles agent qv partition",
        "ground": "kernels models datasets trace identity checkpoint registry seeding files errors",
    }.items()
}
FLOORS = [name for names in LAYERS.values() for name in names]
LAYER = {name: number for number, names in enumerate(LAYERS.values()) for name in names}

STRANGERS = {"cases", "aggregators", "attacks", "roles"}  # none of them knows another
ONLY_TRACES = {"plots", "analysis"}  # what a run left, not what made it
TRACE_LEVEL = {*LAYERS["ground"], *LAYERS["parts of a run"]} - {"models", "engine", "server"}

PACKAGE = Path(gaa_core.__file__).parent
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room(dotted: str) -> str:
    """gaa_core.datasets.idx -> datasets."""
    return dotted.split(".")[1]


def imported(source: str) -> set[str]:
    """The rooms that a file imports, at its top or in a function; not what is for type checkers only."""
    found = set()
    tree = ast.parse(source)
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            if node.module == "gaa_core":
                found |= {_attribute(alias.name) for alias in node.names}
            elif (node.module or "").startswith("gaa_core."):
                found.add(room(node.module))
        elif isinstance(node, ast.Import):
            found |= {room(alias.name) for alias in node.names if alias.name.startswith("gaa_core.")}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "gaa_core":
            found.add(_attribute(node.attr))
    return found - {""}


def _attribute(name: str) -> str:
    """The room behind `gaa_core.name`: `run` lives in simulator, a dunder in none."""
    return "" if name.startswith("__") and name != "__main__" else room(gaa_core._LAZY.get(name, f"gaa_core.{name}"))


def faults(name: str, source: str) -> list[str]:
    """What a file imports and should not, in words."""
    found = []
    for other in sorted(imported(source) - {name}):
        if other not in FLOORS:
            found.append(f"{name} imports {other}, which has no floor yet: add it to LAYERS")
        elif LAYER[other] < LAYER[name]:
            found.append(f"{name} imports {other}, which stands above it")
        elif {name, other} <= STRANGERS:
            found.append(f"{name} and {other} must not know each other")
        elif name in ONLY_TRACES and other not in TRACE_LEVEL:
            found.append(f"{name} may look at traces only, and imports {other}")
    return found


def test_imports_point_down():
    for path in SOURCES:
        name = path.relative_to(PACKAGE).with_suffix("").parts[0]
        assert name in FLOORS, f"{name} has no floor yet: add it to LAYERS"
        assert faults(name, path.read_text(encoding="utf-8")) == [], path


def test_a_wrong_import_is_seen():
    for name, source in (
        ("kernels", "from gaa_core.simulator import run"),
        ("kernels", "from gaa_core import run"),
        ("kernels", "def later():\n    import gaa_core\n    return gaa_core.run"),
        ("cases", "from gaa_core.attacks import Switcher"),
        ("aggregators", "import gaa_core.roles"),
        ("plots", "from gaa_core import models"),
        ("analysis", "from gaa_core.agent import Agent"),
        ("trace", "from gaa_core import unheard_of"),
    ):
        assert name in FLOORS and len(faults(name, source)) == 1


def test_imports_for_type_checkers_are_free():
    assert imported("if TYPE_CHECKING:\n    from gaa_core.cases import CaseStudy") == set()


# Written with brackets so that this file does not find itself.
OF_ONE_MACHINE = [
    r"(?<![\w./:-])/(?:hom[e]|User[s]|roo[t]|wor[k]|op[t]|tm[p]|mn[t])/",
    r"\.\./share[d]",
    r"pyp[i]\.org",
    r"pythonhoste[d]",
    r"download\.pytorc[h]",
    r"anacond[a]\.(?:org|com)",
    r"npmj[s]",
    r"find-link[s]|index-ur[l]",
]
#: CI alone knows where data may lie beside the clone; the Makefile tells the resolver not to write down its index.
EXCEPTIONS = {(".ci/run", r"\.\./share[d]"), ("Makefile", r"find-link[s]|index-ur[l]")}


def texts(root: Path) -> list[Path]:
    """The text files of the repository, without what commands build."""
    folders = ("gaa_core", "notebooks", "tests", "figures/paper", ".ci")
    files = [path for path in root.iterdir() if path.name != ".git"]
    files += [path for folder in folders for path in (root / folder).rglob("*")]
    built = {"__pycache__", ".ipynb_checkpoints"}
    return [path for path in files if path.is_file() and path.suffix != ".png" and not built & set(path.parts)]


def test_nothing_speaks_of_one_machine(repository):
    found = []
    for path in texts(repository):
        name = path.relative_to(repository).as_posix()
        text = path.read_text(encoding="utf-8", errors="replace")
        for pattern in OF_ONE_MACHINE:
            hit = re.search(pattern, text)
            if hit and (name, pattern) not in EXCEPTIONS:
                found.append(f"{name}: {hit.group()}")
    assert found == []


def test_what_speaks_of_one_machine_is_seen_and_pages_of_the_web_are_not_machines():
    bad = ["see /wor" + "k/main", "'/ho" + "me/me'", "https://pyp" + "i.org/simple", "../share" + "d/x"]
    for text in [*bad, "https://example.org/home/work/tmp/x"]:
        assert any(re.search(pattern, text) for pattern in OF_ONE_MACHINE) == (text in bad)
