"""Interactive pages for JupyterLab: `Playground` trains live, `TraceExplorer` reads saved runs.

    from gaa_core.widgets import Playground, TraceExplorer

Logic stands in plain classes without widgets: `setup` (choices), `race` (training in a thread), `view` (a trace step by
step), `pictures` (drawings).
"""

from gaa_core.widgets.explorer import TraceExplorer
from gaa_core.widgets.playground import Playground

__all__ = ["Playground", "TraceExplorer"]
