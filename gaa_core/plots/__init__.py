"""Pictures: traces and tables in, Axes out, in one house style with one colour and marker a rule everywhere.

Functions draw, they do not compute results, show or save; `save` writes a figure with its description beside it.
"""

from gaa_core.plots.tables import LOSS_MAP as LOSS_MAP
from gaa_core.plots.tables import bars as bars
from gaa_core.plots.tables import by_category as by_category
from gaa_core.plots.tables import by_share as by_share
from gaa_core.plots.tables import claims_matrix as claims_matrix
from gaa_core.plots.tables import heatmap as heatmap
from gaa_core.plots.tables import lines as lines
from gaa_core.plots.traces import CREDIT_MAP as CREDIT_MAP
from gaa_core.plots.traces import CREDIT_SPAN as CREDIT_SPAN
from gaa_core.plots.traces import accuracy as accuracy
from gaa_core.plots.traces import credit_panels as credit_panels
from gaa_core.plots.traces import credits as credits
from gaa_core.plots.traces import story as story
from gaa_core.style import BENIGN as BENIGN
from gaa_core.style import BYZANTINE as BYZANTINE
from gaa_core.style import MOST_PIXELS as MOST_PIXELS
from gaa_core.style import RULE_STYLES as RULE_STYLES
from gaa_core.style import house_style as house_style
from gaa_core.style import outside_legend as outside_legend
from gaa_core.style import panels as panels
from gaa_core.style import paper as paper
from gaa_core.style import rule_name as rule_name
from gaa_core.style import rule_style as rule_style
from gaa_core.style import save as save
from gaa_core.style import shared_legend as shared_legend
from gaa_core.style import styled as styled
