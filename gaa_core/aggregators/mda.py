from dataclasses import dataclass

from gaa_core.aggregators.brute_force import BruteForce


@dataclass(frozen=True)
class MDA(BruteForce):
    """Minimum-diameter averaging: the name under which later papers know `BruteForce`. The same rule.

    Source: El Mhamdi et al. 2020, "Genuinely distributed Byzantine machine learning".
    """

    source = "paper: Table 1 (as Brute-Force)"
