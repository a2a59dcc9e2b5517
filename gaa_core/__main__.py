"""python -m gaa_core demo | list | run | reproduce | gallery | trace | notebooks | league | fetch.

Each has --help. Bad input ends with one sentence on stderr and exit code 2, a failed notebook with code 1. Commands are
functions: cyclopts reads their type hints and docstrings, and names the nearest option for a wrong one.
"""

from __future__ import annotations

import os
import sys
import traceback

import cyclopts

from gaa_core.commands import app, batch, runs  # noqa: F401 (the latter two add their commands)
from gaa_core.errors import GaaError

#: Shows where an unexpected error came from.
TRACEBACK = "GAA_TRACEBACK"


def main(arguments: list[str] | None = None) -> int:
    """The exit code of a command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        result = app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
        return result if isinstance(result, int) else 0
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("gaa_core: interrupted; what was finished is kept, and the same command resumes.", file=sys.stderr)
        return 130
    except Exception as error:
        if os.environ.get(TRACEBACK):
            traceback.print_exc()
        print(f"gaa_core: {_sentence(error)}", file=sys.stderr)
        return 2


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    expected = isinstance(error, GaaError | cyclopts.CycloptsError | OSError)
    return text if expected else f"{type(error).__name__}: {text} ({TRACEBACK}=1 shows where)"


if __name__ == "__main__":
    sys.exit(main())
