"""What both pages share: pictures as wide as the page, named controls, and pages that replace earlier ones."""

from __future__ import annotations

import weakref

import ipywidgets as widgets
import traitlets

#: A dark theme inverts the lightness of pictures and keeps their hues: the kernel does not know the theme.
_STYLE = """<style>
[data-jp-theme-light="false"] .gaa-picture {filter: invert(0.92) hue-rotate(180deg)}
</style>"""

_pages: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # page -> (cell, execution)


class Picture(widgets.Image):
    """A PNG that fills the page's width; `tooltip` says the same in words.

    The browser's side of ipywidgets 8 reads a description before it shows a tooltip, and an Image has none.
    """

    description = traitlets.Unicode("").tag(sync=True)

    def __init__(self):
        super().__init__(format="png", layout=widgets.Layout(width="100%", height="auto"))
        self.add_class("gaa-picture")


class Page(widgets.VBox):
    """A page that a cell shows. It closes pages that earlier executions of the same cell have made."""

    def __init__(self, *rows: widgets.Widget | list[widgets.Widget]):
        boxes = [widgets.Box(row, layout=WRAPPING) if isinstance(row, list) else row for row in rows]
        super().__init__([*boxes, widgets.HTML(_STYLE, layout=HIDDEN)], layout=widgets.Layout(max_width="1920px"))
        cell, execution = _current_cell()
        for other, (its_cell, its_execution) in list(_pages.items()):
            if cell is not None and its_cell == cell and its_execution != execution:
                other.close()
        _pages[self] = (cell, execution)

    def close(self) -> None:
        """Take the page and all that is in it away; a closed box alone would leave its contents in the kernel."""
        _close(self.children)
        _pages.pop(self, None)
        super().close()


WRAPPING = widgets.Layout(display="flex", flex_flow="row wrap", align_items="center")
HIDDEN = widgets.Layout(display="none")


def choice(label: str, tooltip: str, options: list, **more) -> widgets.Dropdown:
    """A list to choose from. It has a name in words, which browsers do not give to a slider's handle."""
    return widgets.Dropdown(description=label, tooltip=tooltip, options=options, **_sized("272px"), **more)


def number(label: str, tooltip: str, least: int, most: int, **more) -> widgets.BoundedIntText:
    """A box for a whole number; values outside are moved to the nearest bound."""
    return widgets.BoundedIntText(description=label, tooltip=tooltip, min=least, max=most, **_sized("160px"), **more)


def button(label: str, tooltip: str, icon: str, action) -> widgets.Button:
    """A button that calls `action()`."""
    made = widgets.Button(description=label, tooltip=tooltip, icon=icon, layout=widgets.Layout(width="auto"))
    made.on_click(lambda _: action())
    return made


def _sized(width: str) -> dict:
    return {"style": {"description_width": "76px"}, "layout": widgets.Layout(width=width, max_width="100%")}


def _close(children) -> None:
    for child in children:
        _close(getattr(child, "children", ()))
        child.close()


def _current_cell() -> tuple[str | None, str | None]:
    """(cell id, request id) as JupyterLab sends them to the kernel; (None, None) elsewhere."""
    try:
        from IPython import get_ipython

        parent = get_ipython().kernel.get_parent()
        return parent["metadata"]["cellId"], parent["header"]["msg_id"]
    except (ImportError, AttributeError, KeyError, TypeError):
        return None, None
