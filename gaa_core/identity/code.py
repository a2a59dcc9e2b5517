"""What code says, which names it reaches beyond itself by, and which of it belongs to installed libraries."""

import dataclasses
import dis
import functools
import hashlib
import importlib
import importlib.util
import platform
import sys
import types
from collections.abc import Callable
from pathlib import Path

#: Folders that pip and the distributions of Linux install into.
_INSTALLED = {"site-packages", "dist-packages"}


@dataclasses.dataclass(frozen=True)
class Code:
    """What a code object says, and the names by which it reaches beyond itself."""

    digest: str
    names: frozenset[str]  # of globals, attributes and imports
    globals: frozenset[str]
    imports: frozenset[tuple[int, str]]  # (level, module)


@functools.cache
def read(code: types.CodeType, identity: Callable[[object], str]) -> Code:
    """What a code object says, by its bytecode and constants; lines and files do not count."""
    steps = list(dis.get_instructions(code))
    inner = [read(part, identity) for part in code.co_consts if isinstance(part, types.CodeType)]
    content = (
        platform.python_version(),
        (code.co_code, code.co_exceptiontable, code.co_flags),
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars),
        [part for part in code.co_consts if not isinstance(part, types.CodeType)],
        [each.digest for each in inner],
    )
    loads = {step.argval for step in steps if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    imports = {(steps[at - 2].argval, step.argval) for at, step in enumerate(steps) if step.opname == "IMPORT_NAME"}
    return Code(
        identity(content),
        frozenset(code.co_names).union(*(each.names for each in inner)),
        frozenset(loads).union(*(each.globals for each in inner)),
        frozenset(imports).union(*(each.imports for each in inner)),
    )


def import_by_name(name: str, package: str) -> types.ModuleType:
    return importlib.import_module(importlib.util.resolve_name(name, package) if name.startswith(".") else name)


def is_generated(member: object) -> bool:
    """Methods that `dataclass` wrote; the fields say the same."""
    function = getattr(member, "__wrapped__", member)
    return isinstance(function, types.FunctionType) and function.__code__.co_filename == "<string>"


def of_library(value) -> bool:
    """Whether a function or class is what its library calls by this name; what a library made on the way is not."""
    module = getattr(value, "__module__", None)
    if not isinstance(module, str) or not is_library(module):
        return False
    return (
        functools.reduce(
            lambda found, name: getattr(found, name, None), value.__qualname__.split("."), sys.modules.get(module)
        )
        is value
    )


@functools.cache
def is_library(module: str) -> bool:
    """Whether a module, by name, is Python's or an installed package's; this package's own modules are not."""
    top = module.partition(".")[0]
    if top in ("gaa_core", "__main__", "__mp_main__"):
        return False
    if top in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(module), "__file__", None) or getattr(sys.modules.get(top), "__file__", None)
    # by the folder's name: path files, --user and --system-site-packages put libraries elsewhere than this Python's own
    return file is not None and not _INSTALLED.isdisjoint(Path(file).parts)


@functools.cache
def version(module: str) -> str:
    """The version of a library, and the digest of the file that this part of it stands in."""
    top, file = sys.modules.get(module.partition(".")[0]), getattr(sys.modules.get(module), "__file__", None) or ""
    content = Path(file).read_bytes() if file.endswith(".py") and Path(file).is_file() else b""
    version = getattr(top, "__version__", platform.python_version())
    return f"{version} {hashlib.sha256(content).hexdigest()}"
