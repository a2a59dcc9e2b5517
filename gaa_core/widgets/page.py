"""What both pages share: a picture as wide as the page, and controls with names."""

import ipywidgets as widgets
import traitlets

#: A dark theme inverts the lightness of pictures and keeps their hues: the kernel does not know the theme.
STYLE = """<style>
[data-jp-theme-light="false"] .gaa-picture {filter: invert(0.92) hue-rotate(180deg)}
</style>"""
WRAPPING = widgets.Layout(display="flex", flex_flow="row wrap", align_items="center")


class Picture(widgets.Image):
    """A PNG that fills the page's width; `tooltip` says the same in words.

    The browser's side of ipywidgets 8 reads a description before it shows a tooltip, and an Image has none.
    """

    description = traitlets.Unicode("").tag(sync=True)

    def __init__(self):
        super().__init__(format="png", layout=widgets.Layout(width="100%", height="auto"))
        self.add_class("gaa-picture")


class Page(widgets.VBox):
    """Rows of controls, and pictures, as a cell shows them."""

    def __init__(self, *rows: widgets.Widget | list[widgets.Widget]):
        boxes = [widgets.Box(row, layout=WRAPPING) if isinstance(row, list) else row for row in rows]
        style = widgets.HTML(STYLE, layout=widgets.Layout(display="none"))
        super().__init__([*boxes, style], layout=widgets.Layout(max_width="1920px"))

    def close(self) -> None:
        """Take the page and all that is in it away; a closed box alone would leave its contents in the kernel."""
        close_all(self.children)
        super().close()


def close_all(children: tuple[widgets.Widget, ...]) -> None:
    """Close widgets and all that is in them."""
    for child in children:
        close_all(getattr(child, "children", ()))
        child.close()


def choice(label: str, tooltip: str, options: list, **more) -> widgets.Dropdown:
    """A list to choose from. It has a name in words, which browsers do not give to a slider's handle."""
    return widgets.Dropdown(description=label, tooltip=tooltip, options=options, **_sized("272px"), **more)


def number(label: str, tooltip: str, least: int, most: int, **more) -> widgets.BoundedIntText:
    """A box for a whole number; values outside are moved to the nearest bound."""
    return widgets.BoundedIntText(description=label, tooltip=tooltip, min=least, max=most, **_sized("160px"), **more)


def button(label: str, tooltip: str, icon: str, action, kind: type = widgets.Button) -> widgets.Widget:
    """A Button, or a ToggleButton, that calls `action()`."""
    made = kind(description=label, tooltip=tooltip, icon=icon, layout=widgets.Layout(width="auto"))
    if kind is widgets.Button:
        made.on_click(lambda _: action())
    else:
        made.observe(lambda _: action(), "value")
    return made


def _sized(width: str) -> dict:
    return {"style": {"description_width": "76px"}, "layout": widgets.Layout(width=width, max_width="100%")}
