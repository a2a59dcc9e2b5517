"""The league: rules against attacks, roles, shares and cases. `play` does the runs and returns a table of them.

`entrants` says which rules play and how they are set, `grid` what is played. Scores are computed from the table by
`gaa_core.analysis.standings`; notebook 08_league draws them.
"""

from gaa_core.league.entrants import RIVALS, entrants
from gaa_core.league.grid import NAMED, PROFILES, SETTINGS, Part
from gaa_core.league.playing import outlook, parts, play, ranking

__all__ = ["NAMED", "PROFILES", "RIVALS", "SETTINGS", "Part", "entrants", "outlook", "parts", "play", "ranking"]
