"""The commands of python -m gaa_core. Each is a function: cyclopts reads its type hints and its docstring."""

import webbrowser
from pathlib import Path
from typing import Annotated, Literal

import cyclopts
from cyclopts import Parameter

app = cyclopts.App(
    name="python -m gaa_core",
    help="Justinian's GAAvernor, as a reference implementation.",
    help_format="plaintext",
    version_flags=[],
)

Profile = Literal["smoke", "quick", "paper"]
Words = Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())]
Flag = Annotated[bool, Parameter(negative=())]

#: Columns of an ordinary terminal.
WIDTH = 80


def open_page(path: Path, only_print: bool = False) -> None:
    """Print a path, and open it in the browser unless it is only to be printed."""
    if not only_print:
        webbrowser.open(path.as_uri())
    print(path)
