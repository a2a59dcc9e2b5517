"""Interactive pages for JupyterLab: `Playground` trains live, `TraceExplorer` reads what a run left.

    from gaa_core.widgets import Playground, TraceExplorer

Both are ipywidgets. What they do is in plain classes without widgets: `setup` (what can be chosen), `race` (runs in a
thread), `view` (a trace, read step by step) and `pictures`, `panels` (drawings).
"""

from gaa_core.widgets.explorer import TraceExplorer
from gaa_core.widgets.playground import Playground

__all__ = ["Playground", "TraceExplorer"]
