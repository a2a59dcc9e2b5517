"""Name -> class, found by importing the files of a folder. Drop a file in and it is there.

A name is that of the class in small letters, with underscores where its file's name has them: `MultiKrum` of
multi_krum.py is `multi_krum`, `DnC` of dnc.py is `dnc`. A class that its file is not named after is in snake case. Two
classes of one name, or a file that cannot be imported, raise with the file's name: nothing is lost silently.
"""

import ast
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import re
import sys
import typing
import warnings
from collections import UserDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, UnionType

from gaa_core.errors import GaaError, UnknownName, explained, one_of


def snake_case(name: str) -> str:
    """`MultiKrum` -> `multi_krum`, `GAA` -> `gaa`, `ALittleIsEnough` -> `a_little_is_enough`."""
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()


def name_of(cls: type) -> str:
    """The name that a class is registered by."""
    file = cls.__module__.rpartition(".")[2]
    return file if file.replace("_", "") == cls.__name__.lower() else snake_case(cls.__name__)


class Registry(UserDict):
    """What is known by name: what this package has, and from the first look on what installed packages add to it.

    Not sooner, since these import this package: what they define after that line would be missing.
    """

    def __init__(self, own: dict[str, object], group: str, base: type | None = None):
        self._own, self._group, self._base = own, group, base

    @functools.cached_property
    def data(self) -> dict[str, object]:
        found, base = plugins(self._group).items(), self._base
        return self._own | {
            name: thing for name, thing in found if base is None or (inspect.isclass(thing) and issubclass(thing, base))
        }


def collect(package: str, path, base: type) -> Registry:
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
    return Registry(found, package, base)


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


def member(package: str, name: str, known: Mapping[str, type]) -> type:
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
        with explained(f"{module_name.replace('.', '/')}.py cannot be imported"):
            module = importlib.import_module(module_name)
        yield module_name, module


def lookup(kind: str, name: str, known: Mapping[str, object]) -> object:
    """What a name stands for; capitals, hyphens and underscores do not matter. Others raise with the nearest name.

    `my.py:Name` is taken from a file, `package.module:Name` from an installed package.
    """
    if ":" in name:
        return _from_file(kind, *name.rsplit(":", 1))
    by_letters = {_letters(key): found for key, found in known.items()}
    if _letters(name) not in by_letters:
        raise UnknownName(kind, name, known)
    return by_letters[_letters(name)]


def _from_file(kind: str, place: str, name: str) -> object:
    with explained(f"The {kind} '{place}:{name}' cannot be loaded"):
        module = _module_of(Path(place).resolve()) if place.endswith(".py") else importlib.import_module(place)
    if not hasattr(module, name):
        own = [key for key in vars(module) if not key.startswith("_")]
        raise UnknownName(f"{kind} in {place}", name, own)
    return getattr(module, name)


@functools.cache
def _module_of(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    name = f"own_{path.stem}"  # no module of that name is ever hidden
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def plugins(group: str) -> dict[str, object]:
    """What installed packages add under an entry point group, such as `gaa_core.aggregators`, by name.

    One that cannot be loaded is left out with a warning, so that it breaks nothing else.
    """
    found: dict[str, object] = {}
    for point in importlib.metadata.entry_points(group=group):
        try:
            found[point.name] = point.load()
        except Exception as error:
            warnings.warn(f"The plugin {point.value} of {group} cannot be loaded: {error}", stacklevel=2)
    return found


def _letters(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()


def build(kind: str, words: Sequence[str], known: Mapping[str, object], **context: object) -> object:
    """What words of a command line stand for: `krum f=3`, `my.py:Half f=3`; a plain function stands for itself.

    `context` holds values that are used where they are asked for, such as n and seed of the run. Wrong names, types and
    values raise GaaError.
    """
    make = lookup(kind, words[0], known)
    params = dict(_parameter(words[0], word) for word in words[1:])
    if not callable(make):
        return make
    accepted = inspect.signature(make).parameters
    plain = inspect.isfunction(make) and not params and not context.keys() & accepted.keys()
    if plain or not (inspect.isclass(make) or inspect.isfunction(make)):
        return make
    given = {key: value for key, value in context.items() if key in accepted}
    named = [key for key in accepted if key != "n"]
    for key, text in params.items():
        one_of(f"parameter of {words[0]}", key, named)
        given[key] = _fitting(words[0], key, text, _hints(make).get(key))
    missing = [key for key, each in accepted.items() if each.default is each.empty and key not in given]
    if missing:
        raise GaaError(f"{words[0]} needs {', '.join(missing)}: write e.g. {words[0]} {missing[0]}=...")
    return make(**given)


def _parameter(name: str, word: str) -> tuple[str, str]:
    key, equals, text = word.partition("=")
    if not equals:
        raise GaaError(f"'{name}' is followed by parameters such as name=value; found '{word}'.")
    return key, text


def _hints(make: Callable) -> dict[str, object]:
    try:
        return typing.get_type_hints(make.__init__ if inspect.isclass(make) else make)
    except Exception:  # annotations that name what is not there
        return {}


def _fitting(name: str, key: str, text: str, hint: object) -> object:
    """The value of a text where the type hint allows it."""
    value = _literal(text)
    kinds = typing.get_args(hint) if isinstance(hint, UnionType) or typing.get_origin(hint) is typing.Union else (hint,)
    wanted = [_KINDS[kind][1] for kind in kinds if kind in _KINDS]
    if len(wanted) < len(kinds) or any(_KINDS[kind][0](value) for kind in kinds):
        return value
    if str in kinds:
        return text
    raise GaaError(f"{name}: {key} must be {' or '.join(wanted)}; found '{text}'.")


#: Types of parameters -> what tells them, and how they are called.
_KINDS: dict[object, tuple[Callable[[object], bool], str]] = {
    bool: (lambda value: isinstance(value, bool), "True or False"),
    int: (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    float: (lambda value: isinstance(value, int | float) and not isinstance(value, bool), "a number"),
    str: (lambda value: isinstance(value, str), "a word"),
    type(None): (lambda value: value is None, "None"),
}


def _literal(text: str):
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
