"""Reading traces: traces in, tables out. Who is Byzantine, how they behave, when they turn, who acts together.

Every answer is drawn from what the server itself sees of a run: the credits it gave and the rewards that followed, and,
where a reader says so, the distances between submissions. The true roles only judge the answers.
"""

from gaa_core.analysis.behaviour import BEHAVIOURS as BEHAVIOURS
from gaa_core.analysis.behaviour import BehaviourReport as BehaviourReport
from gaa_core.analysis.behaviour import classify_behaviour as classify_behaviour
from gaa_core.analysis.behaviour import true_behaviour as true_behaviour
from gaa_core.analysis.behaviour import worker_features as worker_features
from gaa_core.analysis.detection import Detection as Detection
from gaa_core.analysis.detection import detect as detect
from gaa_core.analysis.detection import detection_table as detection_table
from gaa_core.analysis.detection import geo_med_plus_order as geo_med_plus_order
from gaa_core.analysis.detection import roc as roc
from gaa_core.analysis.grouping import Groups as Groups
from gaa_core.analysis.grouping import groups as groups
from gaa_core.analysis.sides import sides as sides
from gaa_core.analysis.standings import CELL as CELL
from gaa_core.analysis.standings import WITHIN as WITHIN
from gaa_core.analysis.standings import cells as cells
from gaa_core.analysis.standings import common as common
from gaa_core.analysis.standings import gap_grid as gap_grid
from gaa_core.analysis.standings import hardest as hardest
from gaa_core.analysis.standings import standings as standings
from gaa_core.analysis.standings import widest as widest
from gaa_core.analysis.turning import log_credits as log_credits
from gaa_core.analysis.turning import turning_points as turning_points
