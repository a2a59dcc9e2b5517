"""Many runs: reproduce, gallery, league; and fetch, which gets their data."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gaa_core.commands import Flag, Profile, Words, app, open_page
from gaa_core.errors import GaaError


@app.command
def reproduce(
    *,
    profile: Profile = "quick",
    only: Words = None,
    jobs: int | None = None,
    seeds: int | None = None,
    rules: Words = None,
    figures: Path | None = None,
    results: Path | None = None,
    dry_run: Flag = False,
    force: Flag = False,
    table: Flag = False,
    update_readme: Flag = False,
) -> int:
    """Build the figures, the claims table and the gallery. Running it again resumes, and reuses what is up to date.

    Parameters
    ----------
    profile: smoke (minutes), quick (the default) or paper (hours)
    only: notebooks such as 01_mnist
    jobs: processes a notebook may use for its experiments
    seeds: repetitions of every experiment
    rules: rules that the cases are evaluated with, such as GAAPlus; name these notebooks with --only, and --figures
    figures: folder instead of figures/<profile>
    results: folder instead of results
    dry_run: only say what would be run, and the minutes it took before
    force: run what is up to date as well
    table: print every row of the claims table, too
    update_readme: put the small table of claims into README.md, its page and picture into figures; of figures/gaa_plus
        where that has a claim, case and agent, else of figures/paper, else of this run
    """
    from gaa_core import gallery, report
    from gaa_core import reproduce as machinery

    folders = {"figures": figures, "results": results}
    wished = {"only": only, "jobs": jobs, "seeds": seeds, "rules": rules, "dry_run": dry_run, "force": force}
    outcomes = machinery.reproduce(profile, **wished, **folders)
    if dry_run:
        return 0
    root = machinery.project_root()
    folder = figures or root / "figures" / profile
    claims = report.claims_table(folder)
    if table:
        print("\n" + report.markdown(report.readable(claims)))
    print("\n" + report.plain(claims))
    print(f"Gallery: {folder / 'index.html'}")
    if update_readme:
        merged = (root / "figures" / "gaa_plus", root / "figures" / "paper", folder)
        shown = report.claims_table(*merged)
        gallery.draw_claims(shown, root / "figures")
        gallery.claims_page(root / "figures" / "claims.md", *merged)
        print(f"Updated: {report.update_readme(root / 'README.md', shown, 'figures/claims.md')}")
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    for outcome in failed:
        print(f"gaa_core: {outcome.name} failed: {outcome.message}", file=sys.stderr)
    return 1 if failed else 0


@app.command
def gallery(
    *,
    profile: Profile | None = None,
    figures: Path | None = None,
    only_print: Annotated[Flag, Parameter("--print")] = False,
) -> None:
    """Open the page of figures and claims in the browser.

    Parameters
    ----------
    profile: the page of one; without it, the entry to all
    figures: the page of this folder
    only_print: print the path and open nothing
    """
    from gaa_core.reproduce import project_root

    folder = figures or project_root() / "figures" / (profile or "")
    places = [folder] if figures or profile else [folder / "quick", folder]  # what was built here comes first
    page = next((place / "index.html" for place in places if (place / "index.html").is_file()), None)
    if page is None:
        raise GaaError(f"{folder} has no page yet: run python -m gaa_core reproduce --profile {profile or 'quick'}.")
    open_page(page.resolve(), only_print)


@app.command
def fetch(*case: str) -> None:
    """Download the official data files of cases, all four without a name, with checksums."""
    from gaa_core import datasets

    datasets.fetch(list(case))


@app.command
def league(
    *,
    profile: Profile = "quick",
    part: Words = None,
    rules: Words = None,
    attacks: Words = None,
    first: Annotated[int, Parameter("--from")] = 10_000,
    cases: Words = None,
    seeds: int | None = None,
    jobs: int = 2,
    figures: Path | None = None,
    results: Path | None = None,
    dry_run: Flag = False,
) -> None:
    """All rules against all attacks, roles and shares: the ranking and league.csv. Resumable.

    Parameters
    ----------
    profile: smoke, quick (the default; minutes) or paper (hours)
    part: parts of the profile
    rules: instead of its rules
    attacks: names, or sampled:200
    first: number of the first sampled attack
    cases: such as mnist cms
    seeds: repetitions of every cell
    jobs: runs at a time
    figures: folder instead of figures/<profile>
    results: folder instead of results
    dry_run: only say how many runs there are, and the minutes
    """
    from gaa_core import files
    from gaa_core import league as played
    from gaa_core.reproduce import project_root

    root = project_root()
    where = {"results": results or root / "results", "jobs": jobs}
    sampled = len(attacks or ()) == 1 and attacks[0].startswith("sampled")
    wished = {"rules": rules or [], "first": first, "cases": cases or [], "seeds": seeds}
    chosen = played.parts(profile, names=part or [], attacks=attacks[0] if sampled else attacks or [], **wished)
    if dry_run:
        print(played.outlook(*chosen, **where).to_string(index=False))
        return
    table = played.play(*chosen, **where)
    name = "league_sampled.csv" if sampled else "league.csv"
    path = files.write((figures or root / "figures" / profile) / name, table.to_csv(index=False, float_format="%.6g"))
    print(f"{played.ranking(table)}\nRuns: {path}")
