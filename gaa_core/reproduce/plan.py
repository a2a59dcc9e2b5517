"""What `reproduce` runs: notebooks/figures.yml, and the parameters of each notebook, checked before anything starts.

Papermill only warns about a parameter that the notebook does not have; here it is refused, with the nearest known name.
"""

import ast
import json
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path

import yaml

from gaa_core.errors import DataError, GaaError, UnknownName, one_of

PROFILES = ("smoke", "quick", "paper")


@dataclass(frozen=True)
class Notebook:
    """One entry of figures.yml."""

    path: Path
    name: str
    title: str
    figures: list[str] = field(default_factory=list)  # names without .png that a run must write
    notebook: str | None = (
        None  # the file to run, where it is not called like the entry: one notebook, run several times
    )
    claims: bool = False  # whether a run must write rows of the claims table
    cell_minutes: float | None = None  # a cell that takes longer is stopped
    parameters: dict[str, dict] = field(default_factory=dict)  # profile -> name -> value

    @property
    def label(self) -> str:
        """The name without a folder, under which the notebook itself names its claims and figures."""
        return self.name.rpartition("/")[2]

    def resolve(self, profile: str, always: dict[str, object], wished: dict[str, object]) -> dict[str, object]:
        """The parameters of a run, checked against the notebook's own: figures.yml, over it what is asked for.

        `always` must exist in the notebook; `wished` (such as `jobs`) is passed to notebooks that have it.
        """
        known = notebook_parameters(self.path)
        given = self.parameters.get(profile, {}) | always
        given |= {name: value for name, value in wished.items() if name in known and value is not None}
        for name, value in given.items():
            one_of(f"parameter of {self.path.name}", name, known)
            _check_type(self.path.name, name, value, known[name])
        return given


def read_plan(folder: Path) -> list[Notebook]:
    """The notebooks of a folder's figures.yml, in order. Unknown keys, profiles and files are refused."""
    path = folder / "figures.yml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GaaError(f"{path} does not exist: run this in a clone of the repository.") from None
    except yaml.YAMLError as error:
        raise DataError(f"{path.name} is not valid YAML: {error}") from error
    entries = content.get("notebooks") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise DataError(f"{path.name} needs a list called 'notebooks'; found {type(entries).__name__}.")
    plan = [_entry(folder, entry) for entry in entries]
    names = [notebook.name for notebook in plan]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{path.name} lists the notebook '{name}' {names.count(name)} times.")
    return plan


def choose(plan: list[Notebook], only: list[str]) -> list[Notebook]:
    """The notebooks with these names, in the order of the plan; all of them without names."""
    names = [notebook.name for notebook in plan]
    for name in only:
        one_of("notebook", name, names)
    return [notebook for notebook in plan if not only or notebook.name in only]


def notebook_parameters(path: Path) -> dict[str, object]:
    """Names and defaults in the cell tagged `parameters`: flat literals, which are read and not run."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    tagged = [cell for cell in cells if "parameters" in cell.get("metadata", {}).get("tags", [])]
    if len(tagged) != 1:
        raise DataError(f"{path.name} needs exactly one cell tagged 'parameters'; found {len(tagged)}.")
    found: dict[str, object] = {}
    for statement in ast.parse("".join(tagged[0]["source"])).body:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=value)
            ):
                found[name] = _literal(path.name, name, value)
            case _:
                raise DataError(
                    f"{path.name}: the parameters cell may only assign literals; found '{ast.unparse(statement)}'."
                )
    return found


def _literal(notebook: str, name: str, value: ast.expr | None) -> object:
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError):
        found = "nothing" if value is None else f"'{ast.unparse(value)}'"
        raise DataError(f"{notebook}: parameter '{name}' needs a literal value; found {found}.") from None


def _entry(folder: Path, entry: dict) -> Notebook:
    known = {item.name for item in fields(Notebook)} - {"path"}
    for key in entry:
        one_of("key in figures.yml", key, known)
    required = {item.name for item in fields(Notebook) if item.default is item.default_factory is MISSING} - {"path"}
    for key in sorted(required - set(entry)):
        raise DataError(f"figures.yml: the entry {entry.get('name', entry)!r} needs a '{key}'.")
    for profile in entry.get("parameters", {}):
        one_of(f"profile of {entry['name']} in figures.yml", profile, PROFILES)
    name = entry.get("notebook") or entry["name"]
    path = folder / f"{name}.ipynb"
    if not path.is_file():
        existing = [str(other.relative_to(folder).with_suffix("")) for other in folder.rglob("*.ipynb")]
        raise UnknownName("notebook in figures.yml", name, existing)
    return Notebook(path=path, **entry)


def _check_type(notebook: str, name: str, value: object, default: object) -> None:
    """A value must have the type of the notebook's default: whole numbers do for floats, anything does for None."""
    if isinstance(default, list | tuple) and isinstance(value, list | tuple):
        for element in value if default else ():
            _check_type(notebook, f"{name}[...]", element, default[0])
        return
    fits = type(value) is type(default) or (type(default) is float and type(value) is int) or default is None
    if not fits:
        wanted = type(default).__name__
        raise GaaError(f"{notebook}: parameter '{name}' needs {wanted}; found {type(value).__name__} {value!r}.")
