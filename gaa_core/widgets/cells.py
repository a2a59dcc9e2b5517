"""What both pages share: pictures with words, and that a page made anew by a cell replaces the one it made before."""

from __future__ import annotations

import weakref
from typing import Protocol

import ipywidgets as widgets
import traitlets

_pages: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # page -> (cell, execution)


class Picture(widgets.Image):
    """A PNG whose `tooltip` is the words for who cannot see it.

    The browser's side of ipywidgets 8 looks at a description before it shows a tooltip, and an Image has none.
    """

    description = traitlets.Unicode("").tag(sync=True)

    def __init__(self, width: int):
        super().__init__(format="png", layout=widgets.Layout(width=f"{width}px", max_width="100%", height="auto"))


def wrapping() -> widgets.Layout:
    """Of a row that becomes several where the page is narrow."""
    return widgets.Layout(display="flex", flex_flow="row wrap", align_items="center")


class Page(Protocol):
    """Something that a cell shows and that can be closed."""

    def close(self) -> None: ...


def replace_earlier(page: Page) -> None:
    """Close the pages that an earlier execution of the cell at work has made. Outside a notebook nothing happens."""
    cell, execution = _at_work()
    if cell is None:
        return
    for other, (its_cell, its_execution) in list(_pages.items()):
        if its_cell == cell and its_execution != execution:
            other.close()
            del _pages[other]
    _pages[page] = (cell, execution)


def _at_work() -> tuple[str | None, str | None]:
    """(the cell's id, the request's id) as JupyterLab tells them to the kernel; (None, None) elsewhere."""
    try:
        from IPython import get_ipython

        parent = get_ipython().kernel.get_parent()
        return parent["metadata"]["cellId"], parent["header"]["msg_id"]
    except (ImportError, AttributeError, KeyError, TypeError):
        return None, None


def close_all(children) -> None:
    """Close widgets and all that is in them: a box by itself would leave its contents behind in the kernel."""
    for child in children:
        close_all(getattr(child, "children", ()))
        child.close()
