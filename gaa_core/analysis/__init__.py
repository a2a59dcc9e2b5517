"""Reading traces: traces in, tables out. Who is Byzantine, how they behave, when they turn, who acts together.

Every answer is drawn from what the server itself sees of a run: the credits it gave and the rewards that followed, and,
where a reader says so, the distances between submissions. The true roles only judge the answers.
"""

from gaa_core.analysis.behaviour import BEHAVIOURS, BehaviourReport, classify_behaviour, true_behaviour, worker_features
from gaa_core.analysis.detection import Detection, detect, detection_table, geo_med_plus_order, roc
from gaa_core.analysis.grouping import Groups, groups
from gaa_core.analysis.sides import sides
from gaa_core.analysis.standings import CELL, WITHIN, cells, common, gap_grid, hardest, standings, widest
from gaa_core.analysis.turning import log_credits, turning_points

__all__ = [
    "BEHAVIOURS",
    "CELL",
    "WITHIN",
    "BehaviourReport",
    "Detection",
    "Groups",
    "cells",
    "classify_behaviour",
    "common",
    "detect",
    "detection_table",
    "gap_grid",
    "geo_med_plus_order",
    "groups",
    "hardest",
    "log_credits",
    "roc",
    "sides",
    "standings",
    "true_behaviour",
    "turning_points",
    "widest",
    "worker_features",
]
