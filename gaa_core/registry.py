"""Name -> class, found by importing the files of a folder. Drop a file in and it is there.

A name is that of the class in small letters, with underscores where its file's name has them: `MultiKrum` of
multi_krum.py is `multi_krum`, `DnC` of dnc.py is `dnc`. A class that its file is not named after is in snake case. Two
classes of one name, or a file that cannot be imported, raise with the file's name: nothing is lost silently.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re

from gaa_core.errors import GaaError, UnknownName


def snake_case(name: str) -> str:
    """`MultiKrum` -> `multi_krum`, `GAA` -> `gaa`, `ALittleIsEnough` -> `a_little_is_enough`."""
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def name_of(cls: type) -> str:
    """The name that a class is registered by."""
    file = cls.__module__.rpartition(".")[2]
    return file if file.replace("_", "") == cls.__name__.lower() else snake_case(cls.__name__)


def collect(package: str, path, base: type) -> dict[str, type]:
    """Every concrete public subclass of `base` defined in the modules of a package, by name."""
    found: dict[str, type] = {}
    for module_name, module in _modules(package, path):
        for cls in vars(module).values():
            if not (inspect.isclass(cls) and issubclass(cls, base)):
                continue
            if not f"{cls.__module__}.".startswith(f"{module_name}."):  # a file, or a folder of its own
                continue
            if inspect.isabstract(cls) or cls.__name__.startswith("_"):
                continue
            name = name_of(cls)
            if name in found:
                raise GaaError(f"'{name}' is defined twice: in {found[name].__module__} and in {module_name}.")
            found[name] = cls
    return found


def constants(package: str, path, base: type) -> dict[str, object]:
    """Every public module-level instance of `base` in the modules of a package, by the constant's name."""
    found: dict[str, object] = {}
    for module_name, module in _modules(package, path):
        for name, value in vars(module).items():
            if not isinstance(value, base) or name.startswith("_"):
                continue
            if name in found:
                raise GaaError(f"'{name}' is defined twice, the second time in {module_name}.")
            found[name] = value
    return found


def member(package: str, name: str, known: dict[str, type]) -> type:
    """The class of this name among those collected: the `__getattr__` of a package whose files need no listing."""
    for cls in known.values():
        if cls.__name__ == name:
            return cls
    raise AttributeError(f"module '{package}' has no attribute '{name}'")


def _modules(package: str, path):
    """(name, module) of every file of a package but its `base`, in alphabetical order."""
    for info in sorted(pkgutil.iter_modules(path), key=lambda module: module.name):
        if info.name == "base":
            continue
        module_name = f"{package}.{info.name}"
        try:
            yield module_name, importlib.import_module(module_name)
        except Exception as error:
            raise GaaError(f"{module_name.replace('.', '/')}.py cannot be imported: {error}") from error


def lookup(kind: str, name: str, known: dict[str, type]) -> type:
    """The class of a name; capitals, hyphens and underscores do not matter. Others raise with the nearest name."""
    by_letters = {_letters(key): cls for key, cls in known.items()}
    if _letters(name) not in by_letters:
        raise UnknownName(kind, name, known)
    return by_letters[_letters(name)]


def _letters(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()


def build(kind: str, name: str, params: dict[str, str], known: dict[str, type]):
    """An instance from a name and textual parameters, as the command line gives them: `krum`, {"f": "3"}."""
    cls = lookup(kind, name, known)
    fields = {field.name for field in dataclasses.fields(cls) if field.init}
    values = {}
    for key, text in params.items():
        if key not in fields:
            raise UnknownName(f"parameter of {cls.__name__}", key, fields)
        values[key] = _literal(text)
    missing = [
        field.name
        for field in dataclasses.fields(cls)
        if field.init
        and field.name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise GaaError(f"{cls.__name__} needs {', '.join(missing)}: write e.g. {name_of(cls)} {missing[0]}=...")
    return cls(**values)


def _literal(text: str):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
