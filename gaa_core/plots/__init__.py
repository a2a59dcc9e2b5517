"""Pictures: traces and tables in, Axes out, in one house style with one colour and marker a rule everywhere.

Functions draw, they do not compute results, show or save; `save` writes a figure with its description beside it.
"""

from gaa_core.plots.tables import LOSS_MAP, bars, by_category, by_share, claims_matrix, heatmap, lines
from gaa_core.plots.traces import (
    CREDIT_MAP,
    CREDIT_SPAN,
    absences,
    accuracy,
    credit_panels,
    credits,
    story,
)
from gaa_core.style import (
    BENIGN,
    BYZANTINE,
    MOST_PIXELS,
    RULE_STYLES,
    house_style,
    outside_legend,
    panels,
    paper,
    rule_name,
    rule_style,
    save,
    shared_legend,
    styled,
)

__all__ = [
    "BENIGN",
    "BYZANTINE",
    "CREDIT_MAP",
    "CREDIT_SPAN",
    "LOSS_MAP",
    "MOST_PIXELS",
    "RULE_STYLES",
    "absences",
    "accuracy",
    "bars",
    "by_category",
    "by_share",
    "claims_matrix",
    "credit_panels",
    "credits",
    "heatmap",
    "house_style",
    "lines",
    "outside_legend",
    "panels",
    "paper",
    "rule_name",
    "rule_style",
    "save",
    "shared_legend",
    "story",
    "styled",
]
