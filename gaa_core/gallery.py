"""Pages without any request elsewhere: the gallery of a figures folder, its claims, and executed notebooks to read."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image, UnidentifiedImageError

from gaa_core import report
from gaa_core.errors import GaaError
from gaa_core.files import read_json, write
from gaa_core.trace import Trace

if TYPE_CHECKING:
    import pandas as pd

#: The folders that the entry page knows, the most thorough first; in `gaa_plus` the paper profile of that rule alone.
PROFILES = ("paper", "gaa_plus", "quick")

#: The picture that heads the page, where it is there.
HERO = "tour"

#: The picture of the matrix of claims; the page has the matrix itself.
MATRIX = "claims_matrix"

#: The page of a run with a slider, beside the figures where the tour has run.
TRACE = "trace.html"

#: What every page of ours says of itself; another page is never replaced.
OURS = ('<meta name="generator" content="gaa_core">', "<title>GAAvernor")

#: Steps of a run that its page shows at most.
LOOKS = 400

NOTHING = {"caption": "", "claims": [], "data_source": "", "notebook": "", "command": ""}


@functools.cache
def _templates() -> jinja2.Environment:
    loader = jinja2.PackageLoader("gaa_core")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)


def write_page(path: str | Path, template: str, **values) -> Path:
    """Fill a template and write it; a page that is not ours raises GaaError."""
    path = Path(path)
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else OURS[0]
    if not any(sign in text for sign in OURS):
        raise GaaError(f"{path} was not written by this package, and is not replaced: name another file.")
    return write(path, _templates().get_template(template).render(**values))


def gallery(folder: str | Path) -> Path:
    """Write `index.html` into a figures folder, from its PNG files, their descriptions, its claims and its MANIFEST.

    A figure without a description is shown all the same, and said to have none.
    """
    folder = Path(folder)
    profile = _manifest(folder).get("profile", "")
    title = "GAAvernor: figures and claims" + (f", {profile} profile" if profile else "")
    up = folder.name in PROFILES and (folder.parent / "index.html").is_file()
    return write_page(folder / "index.html", "gallery.html", title=title, up=up, others=[], **_contents(folder, ""))


def entry(root: str | Path) -> Path | None:
    """Write `index.html` beside the folders of the profiles: the first profile in full, the others by their pages.

    The pages of the profiles are written anew as well. None where no profile has been built.
    """
    root = Path(root)
    built = [name for name in PROFILES if any((root / name).glob("[!.]*.png"))]
    if not built:
        return None
    first, *rest = built
    others = [{"name": name, "tally": _alone(root / name) + _tally(root / name)} for name in rest]
    values = {"title": "GAAvernor: figures and claims", "up": False, "others": others}
    page = write_page(root / "index.html", "gallery.html", **values, **_contents(root / first, f"{first}/"))
    for name in built:
        gallery(root / name)
    return page


def readable_notebook(executed: Path, folder: Path, title: str) -> Path:
    """An executed notebook as a page `<folder>/<name>.html` with its figures in and its code folded."""
    from nbconvert import HTMLExporter  # slow to import

    body, _ = HTMLExporter(template_name="basic").from_filename(str(executed))
    return write_page(folder / f"{executed.stem}.html", "notebook.html", title=title, body=body)


def claims_page(path: str | Path, *folders: str | Path) -> Path:
    """Write a Markdown page with a section for each claim and case: verdicts, command, figures and all rows.

    Figures folders count as in `report.claims_table`.
    """
    path, sections = Path(path), {}
    for folder, own in report.rows_of(*folders).items():
        for where, rows in report.table_of(own).groupby(["claim", "case"], sort=False):
            sections.setdefault(where, []).append(_claim_section(rows, folder, path.parent))
    order = sorted(sections, key=lambda where: (int(where[0][1:]), where[1]))
    parts = ["\n".join([f"## {claim} {case}\n", *sections[claim, case]]) for claim, case in order]
    parts = parts or [report.markdown(report.claims_table())]  # of no folder: a sentence
    return write(path, "\n".join(["# Claims, their figures and rows\n", *parts]))


def _claim_section(rows: pd.DataFrame, folder: Path, start: Path) -> str:
    notebook, profile = rows["notebook"].iloc[0], _profile(folder)
    sources = "; ".join(filter(None, dict.fromkeys(rows["data_source"])))
    command = _of_profile(f"python -m gaa_core reproduce --only {notebook}", profile)
    command = f"{'GAA_DATA=DIR ' * ('GAA_DATA' in sources)}{command}"
    read = folder / "notebooks" / f"{Path(notebook).name}.html"
    link = f" Executed: [{notebook}]({os.path.relpath(read, start)})." if read.is_file() else ""
    found = report.matrix(rows)
    found["widest gap"] = [report.widest(row, "") for row in found.to_dict("records")]
    found["in"] = found["setting"].where(found["widest gap"] != "", "")
    counts = found[["agent", "holds", "fails", "undecided", "settings", "widest gap", "in"]]
    parts = [f"{report.CLAIMS[rows['claim'].iloc[0]].capitalize()}. Data: {sources}.{link}", f"    {command}"]
    parts += [report.markdown(counts).strip()] if len(counts) else []
    for picture in (folder / f"{name}.png" for name in dict.fromkeys(rows["figure"])):
        if picture.is_file():
            each = _described(picture, profile)
            parts.append(f"![{each['alt']}]({os.path.relpath(picture, start)})\n\n{each['caption']}")
    shown = report.readable(rows)[["Setting", "Measured", "No attack", "Gap", "Verdict"]]
    parts.append(f"<details><summary>Every setting ({len(rows)})</summary>\n\n{report.markdown(shown)}\n</details>\n")
    return "\n\n".join(parts)


def draw_claims(table: pd.DataFrame, figures: Path) -> None:
    """The matrix of claims as a picture, once an agent was judged."""
    matrix = report.matrix(table)
    matrix = matrix[matrix["agent"] != report.NO_AGENT]
    if matrix.empty:
        return
    order = list(report.AGENTS.values())
    matrix = matrix.sort_values("agent", key=lambda names: names.map(order.index), kind="stable")
    import matplotlib.pyplot as plt  # slow to import, as plots is

    from gaa_core import plots

    figure = plots.claims_matrix(matrix, report.CLAIMS)
    plots.save(
        figure,
        MATRIX,
        folder=figures,
        caption="Claims by agents, a panel per case: the widest gap to no attack in percentage points, and in how many "
        "of the judged settings the claim holds. Bold: in all.",
        alt="Matrix of claims by agents, with the widest gap and the number of settings that hold in each cell.",
        data_source="; ".join(filter(None, dict.fromkeys(table["data_source"]))),
        claim=list(dict.fromkeys(matrix["claim"])),
    )
    plt.close(figure)


def trace_page(trace: Trace, path: str | Path) -> Path:
    """A run as one page to play with: a slider over the steps, the workers' credits, who was Byzantine.

    Long runs are thinned out to at most LOOKS steps. A run without credits raises GaaError.
    """
    if not trace.has_credits:
        raise GaaError(f"{trace.rule} gives no credits, so there is no trace of them to show.")
    steps = np.unique(np.linspace(0, len(trace.credits) - 1, min(LOOKS, len(trace.credits))).round().astype(int))
    looks = trace.steps["accuracy"].ffill()
    data = {name: str(trace.settings.get(name, "")) for name in ("rule", "attack", "roles")}
    data |= {"case": trace.settings.get("title", trace.settings["case"]), "n": trace.credits.shape[1]}
    data |= {
        "steps": steps.tolist(),
        "credits": np.nan_to_num(trace.credits[steps].astype(float)).round(4).tolist(),
        "byzantine": ["".join("01"[int(each)] for each in row) for row in trace.byzantine[steps]],
        "accuracy": [None if np.isnan(value) else round(float(value), 4) for value in looks[steps]],
    }
    return write_page(path, "trace.html", title="A credit trace", data=data)


def _manifest(folder: Path) -> dict:
    path = folder / "MANIFEST.json"
    return read_json(path) if path.is_file() else {}


def _profile(folder: Path) -> str:
    """The profile of a figures folder, as it stands in a command, with the rules that were asked for."""
    manifest = _manifest(folder)
    rules = "".join(f" '{each}'" if " " in each else f" {each}" for each in manifest.get("rules", []))
    return manifest.get("profile", "") + (rules and f" --rules{rules}")


def _alone(folder: Path) -> str:
    """Whose evaluation a folder is, where it is that of some rules alone."""
    rules = " and ".join(_manifest(folder).get("rules", []))
    return f"{rules} alone; README's table has these rows. " if rules else ""


def _contents(folder: Path, prefix: str) -> dict:
    """What there is to see of a profile; `prefix` leads from the page to its files."""
    notebooks, profile, table = _manifest(folder).get("notebooks", {}), _profile(folder), report.claims_table(folder)
    pictures = sorted([*folder.glob("[!.]*.png"), *folder.glob("[!.]*.gif")])  # a dot: left by a killed run
    figures = [_described(path, profile) for path in pictures]
    names = dict.fromkeys([*notebooks, *(figure["notebook"] for figure in figures)])
    sections = [_section(name, notebooks.get(name, {}), figures, folder) for name in names]
    cells: dict[str, dict[str, list]] = {}
    for row in report.matrix(table).to_dict("records"):
        cells.setdefault(row["claim"], {}).setdefault(row["case"], []).append(_cell(row, {f["name"] for f in figures}))
    return {
        "prefix": prefix,
        "tally": _tally(folder),
        "failed": ", ".join(name for name, each in notebooks.items() if each.get("status") == "failed"),
        "hero": next((figure for figure in figures if figure["name"] == HERO), None),
        "matrix": cells,
        "claims": report.CLAIMS,
        "cases": list(dict.fromkeys(case for row in cells.values() for case in row)),
        "rows": report.readable(table).to_dict("records"),
        "figures": {figure["name"] for figure in figures},
        "sections": [section for section in sections if section["figures"] or section["read"]],
        "trace": TRACE if (folder / TRACE).is_file() else "",
    }


def _section(name: str, entry: dict, figures: list[dict], folder: Path) -> dict:
    anchor = "notebook-" + ("".join(letter if letter.isalnum() else "-" for letter in name) or "none")
    read = f"notebooks/{Path(name).name}.html"
    own = [figure for figure in figures if figure["notebook"] == name and figure["name"] not in (HERO, MATRIX)]
    title = entry.get("title") or name or "Other figures"
    return {"anchor": anchor, "title": title, "figures": own, "read": read if (folder / read).is_file() else ""}


def _cell(row: dict, figures: set[str]) -> dict:
    """A cell of the matrix for one agent, with the way to its figure, else to the table's place."""
    text = f"{row['holds']} of {row['settings']}{report.widest(row, ', ')}"
    href = f"#{row['figure']}" if row["figure"] in figures else "#claims"
    return {"agent": row["agent"], "text": text, "verdict": row["verdict"], "href": href, "setting": row["setting"]}


def _tally(folder: Path) -> str:
    """One sentence on how much there is, failures in it like what holds."""
    verdicts = list(report.claims_table(folder)["verdict"])
    counts = ", ".join(f"{verdicts.count(each)} {each}" for each in report.VERDICTS if each in verdicts)
    pictures = len(list(folder.glob("[!.]*.png")))
    figures = "figure" if pictures == 1 else "figures"
    return f"{pictures} {figures}" + (f"; rows of the claims table: {counts}." if counts else ".")


def _described(picture: Path, profile: str) -> dict:
    sidecar = picture.with_suffix(".json")
    found = NOTHING | {"alt": picture.stem} | (read_json(sidecar) if sidecar.is_file() else {})
    command = _of_profile(found["command"], profile)
    facts = [("Claim", ", ".join(found["claims"])), ("Data", found["data_source"]), ("Notebook", found["notebook"])]
    names = {"figure": picture.name, "name": picture.stem, "size": _size(picture)}
    return found | names | {"command": command, "facts": facts}


def _of_profile(command: str, profile: str) -> str:
    """A command that runs a notebook, with its profile: a notebook need not know under which one it runs."""
    told = profile in ("", "quick") or "gaa_core reproduce" not in command or "--profile" in command
    return command if told else f"{command} --profile {profile}"


def _size(picture: Path) -> str:
    """Width and height as attributes, so that the page does not jump while pictures load; nothing where unreadable."""
    try:
        with Image.open(picture) as image:
            return Markup(f' width="{image.width}" height="{image.height}"')
    except UnidentifiedImageError:
        return ""
