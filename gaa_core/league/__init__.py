"""The league: every rule against every attack, roles, share and case; and the search for what breaks an agent.

`rules` and `opponents` say who plays, `grid` what is played, `playing` plays it, `checks` holds what an agent must
reach, `breaking` searches for its worst case. Scores are computed by `gaa_core.analysis.standings`.
"""

from gaa_core.league.breaking import FOUNDERS, Found, Hunt, hunting, search
from gaa_core.league.checks import (
    Requirement,
    ablation_entrants,
    check,
    check_requirements,
    claim,
    league_requirements,
    spot,
    spot_requirements,
)
from gaa_core.league.grid import PROFILES, SEARCH_SEEDS, SETTINGS, Part, games, narrowed, parts, shortened
from gaa_core.league.opponents import FOUND, opponents
from gaa_core.league.playing import data_sources, draw, estimate, outlook, play, ranking, write_table
from gaa_core.league.rules import ABSENT, AGENTS, ENTRANTS, RIVALS

__all__ = [
    "ABSENT",
    "AGENTS",
    "ENTRANTS",
    "FOUND",
    "FOUNDERS",
    "PROFILES",
    "RIVALS",
    "SEARCH_SEEDS",
    "SETTINGS",
    "Found",
    "Hunt",
    "Part",
    "Requirement",
    "ablation_entrants",
    "check",
    "check_requirements",
    "claim",
    "data_sources",
    "draw",
    "estimate",
    "games",
    "hunting",
    "league_requirements",
    "narrowed",
    "opponents",
    "outlook",
    "parts",
    "play",
    "ranking",
    "search",
    "shortened",
    "spot",
    "spot_requirements",
    "write_table",
]
