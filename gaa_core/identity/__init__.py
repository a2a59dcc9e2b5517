"""identity(): a digest of everything that decides what a value does, equal in every process and every session.

Plain values, arrays and tensors count by content, objects by their class and state. A function counts by its bytecode,
defaults, closure and the globals and modules that its code names; a class by its bases and members; both recursively.
Lines and files do not count, so that code moved elsewhere keeps its identity, and edited code gets another. Installed
libraries count by name and version. What has no lasting value (a lock, an open file, a generator) is refused.
"""

import abc
import copyreg
import dataclasses
import enum
import functools
import hashlib
import importlib
import importlib.util
import re
import types
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gaa_core.errors import GaaError
from gaa_core.identity.code import Code, import_by_name, is_generated, is_library, of_library, read, version

__all__ = ["identity", "is_library"]

#: Members of a class that say where it stands or what Python noted about it, not what it does.
_NOTES = re.compile(
    "__(module|dict|weakref|doc|qualname|annotate.*|annotations.*|firstlineno|static_attributes|abstractmethods|"
    "parameters|orig_bases|dataclass_.*|match_args|slotnames|slots|protocol_attrs|non_callable.*|type_params)__|_abc_impl"
)

#: Wrappers of a function, and where they have it. What a cache remembers does not count.
_WRAPPERS = {
    staticmethod: "__func__",
    classmethod: "__func__",
    functools.cached_property: "func",
    functools._lru_cache_wrapper: "__wrapped__",
}
_TOLD_BY_REPR = (types.MemberDescriptorType, types.GetSetDescriptorType, types.UnionType, types.GenericAlias)
_ABSENT = object()


def identity(value: object, place: str = "the value") -> str:
    """Sixty-four hex digits that say what `value` is and does. `place` names it in errors.

    The order of sets and dicts does not count. Raises GaaError, which names the part, for what cannot be identified.
    """
    walk = _Walk()
    walk.add(value, place)
    while walk.waiting:
        walk.describe(*walk.waiting.pop(0))
    return walk.digest.hexdigest()


class _Walk:
    """One walk over a value. Functions and classes are numbered where they first appear and described one by one
    afterwards, which makes circles among them harmless.
    """

    def __init__(self):
        self.digest = hashlib.sha256()
        self.numbers: dict[int, int] = {}
        self.waiting: list[tuple[object, str]] = []
        self.kept: list[object] = []  # an id is that of one object only as long as the object lives
        self.open: list[int] = []  # containers and objects around the present value

    def token(self, *parts: object) -> None:
        for part in parts:
            content = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
            self.digest.update(b"%d:" % len(content))
            self.digest.update(content)

    def add(self, value: object, place: str) -> None:
        kind = type(value)
        if value is None or kind in (bool, int, float, complex, str, bytes, type(...), type(NotImplemented), range):
            self.token(kind.__name__, value if kind is bytes else repr(value))
        elif isinstance(value, np.generic) and not isinstance(value.item(), np.generic):
            self.add(value.item(), place)
        elif isinstance(value, enum.Enum):
            self.token("enum", kind.__name__, value.name)
            self.add(value.value, place)
        elif isinstance(value, type) or kind is types.FunctionType:
            self._refer(value, place)
        elif kind in (list, tuple, dict, types.MappingProxyType, set, frozenset):
            self._within(value, place, self._container)
        elif isinstance(value, np.ndarray) or (isinstance(value, Tensor) and value.layout == torch.strided):
            self._array(value, place)
        elif isinstance(value, types.ModuleType):
            self._module(value, set(vars(value)), place)
        else:
            self._within(value, place, self._object)

    def _within(self, value: object, place: str, walk) -> None:
        """Walk a container or object, unless it is within itself."""
        if id(value) in self.open:
            self.token("circle", len(self.open) - self.open.index(id(value)))
            return
        self.open.append(id(value))
        self.kept.append(value)
        try:
            walk(value, place)
        except RecursionError:
            raise GaaError(f"{place[:80]} is nested too deeply to identify a run by.") from None
        self.open.pop()

    def _container(self, value, place: str) -> None:
        self.token(type(value).__name__, len(value))
        if isinstance(value, list | tuple):
            for number, part in enumerate(value):
                self.add(part, f"{place}[{number}]")
        elif isinstance(value, set | frozenset):
            self.token(*sorted(identity(part, place) for part in value))
        else:
            named = all(type(key) is str for key in value)
            for key in sorted(value, key=None if named else lambda key: identity(key, place)):
                self.add(key, place)
                self.add(value[key], f"{place}[{key!r}]")

    def _array(self, value: Tensor | np.ndarray, place: str) -> None:
        if isinstance(value, Tensor):
            self.token("tensor", value.dtype, tuple(value.shape), value.requires_grad)
            value = value.detach().cpu().resolve_conj().resolve_neg().flatten().view(torch.uint8).numpy()
        self.token("array", value.dtype.str, value.shape)
        if value.dtype.hasobject:
            self.add(value.tolist(), place)
        else:
            self.token(value.tobytes())

    def _object(self, value: object, place: str) -> None:
        inner = next((name for kind, name in _WRAPPERS.items() if isinstance(value, kind)), None)
        if inner is not None or hasattr(value, "py_func"):  # the latter is compiled by numba
            self.token(type(value).__name__)
            self.add(getattr(value, inner or "py_func"), place)
        elif isinstance(value, property):
            self.add([value.fget, value.fset, value.fdel], place)
        elif isinstance(value, torch.Generator):
            self.add(value.get_state(), place)
        elif isinstance(value, _TOLD_BY_REPR) or type(value).__module__ == "typing":
            self.token("repr", repr(value))
        elif _starts_anew(value):
            self._refer(type(value), place)
            for each in dataclasses.fields(value):
                if each.init:
                    self.token(each.name)
                    self.add(getattr(value, each.name), f"{place}.{each.name}")
        else:
            self._reduced(value, place)

    def _reduced(self, value: object, place: str) -> None:
        """Objects count by what pickle would keep of them."""
        try:
            kept = copyreg.dispatch_table.get(type(value), lambda value: value.__reduce_ex__(4))(value)
        except Exception:
            what = f"{place[:80]} is or holds a {type(value).__name__}"
            raise GaaError(f"{what}, which has no lasting value to identify a run by.") from None
        if isinstance(kept, str):
            self.token("global", getattr(value, "__module__", ""), kept, version(str(value.__module__)))
            return
        make, arguments, *rest = kept
        self.add(make, place)
        self.add(arguments, place)
        state, items, pairs = (*rest, None, None, None)[:3]
        for part in (state, items if items is None else list(items), pairs if pairs is None else list(pairs)):
            self.add(part, place)

    def _refer(self, value, place: str) -> None:
        """A function or class: by name where it is a library's, else by a number and, later, its description."""
        if of_library(value):
            self.token("library", value.__module__, value.__qualname__, version(value.__module__))
            return
        if id(value) not in self.numbers:
            self.numbers[id(value)] = len(self.numbers)
            self.kept.append(value)
            self.waiting.append((value, place))
        self.token("number", self.numbers[id(value)])

    def describe(self, value, place: str) -> None:
        """The content of one numbered function or class."""
        self.token("class" if isinstance(value, type) else "function", value.__name__)
        (self._class if isinstance(value, type) else self._function)(value, place)

    def _class(self, cls: type, place: str) -> None:
        self.add(list(cls.__bases__), place)
        if type(cls) not in (type, abc.ABCMeta):
            self.add(type(cls), place)
        generated: set[str] = set()
        if "__dataclass_fields__" in vars(cls):
            self.token(repr(cls.__dataclass_params__))
            for each in dataclasses.fields(cls):
                self.token("field", each.name, each.init, each.kw_only, each.compare)
                for part in (each.default, each.default_factory):
                    self.add("none" if part is dataclasses.MISSING else part, f"{cls.__name__}.{each.name}")
            generated = {name for name, part in vars(cls).items() if is_generated(part)}
        for name in sorted(name for name in vars(cls).keys() - generated if not _NOTES.fullmatch(name)):
            self.token(name)
            self.add(vars(cls)[name], f"{cls.__name__}.{name}")

    def _function(self, function: types.FunctionType, place: str) -> None:
        code = read(function.__code__, identity)
        self.token(code.digest)
        self.add([function.__defaults__, function.__kwdefaults__, function.__dict__], place)
        scope, package = function.__globals__, function.__globals__.get("__package__") or ""
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self._named(name, _found(lambda cell=cell: cell.cell_contents), code, f"held by {function.__name__},")
        for name in sorted(code.globals & scope.keys()):
            self._named(name, scope[name], code, f"used by {function.__name__},")
        for level, name in sorted(code.imports):
            get = functools.partial(import_by_name, "." * level + name, package)
            self._named(name, _found(get), code, f"imported by {function.__name__},")

    def _named(self, name: str, value: object, code: Code, place: str) -> None:
        self.token("named", name)
        self._reached(value, code.names, f"'{name}', {place}")

    def _reached(self, value: object, names: frozenset[str], place: str) -> None:
        """A value that a function's code refers to; of a module only what the code names counts."""
        if isinstance(value, types.ModuleType):
            self._module(value, names, place)
        elif value is _ABSENT:
            self.token("absent")
        else:
            self.add(value, place)

    def _module(self, module: types.ModuleType, names, place: str) -> None:
        if is_library(module.__name__):
            self.token("module", module.__name__, version(module.__name__))
            return
        if id(module) in self.open:
            return
        self.open.append(id(module))
        for name in sorted(names):
            value = _ABSENT if name.startswith("__") else _member(module, name)
            if value is not _ABSENT:
                self.token("member", name)
                self._reached(value, names, f"{module.__name__}.{name}")
        self.open.pop()


def _member(module: types.ModuleType, name: str) -> object:
    """What a module has by this name; a module of a package that was not imported yet is imported, so that it counts
    before and after the function that imports it has run.
    """
    value = getattr(module, name, _ABSENT)
    within = value is _ABSENT and hasattr(module, "__path__") and name.isidentifier()
    if within and importlib.util.find_spec(f"{module.__name__}.{name}"):
        value = importlib.import_module(f"{module.__name__}.{name}")
    return value


def _found(get: Callable[[], object]) -> object:
    """What there is: a cell may not be filled yet, an optional library not be installed."""
    try:
        return get()
    except Exception:
        return _ABSENT


def _starts_anew(value: object) -> bool:
    """Whether the fields that a constructor takes say everything: this package's dataclasses and rules with a reset."""
    learns = callable(getattr(value, "reset", None)) and callable(getattr(value, "observe", None))
    return dataclasses.is_dataclass(value) and (learns or type(value).__module__.startswith("gaa_core."))
