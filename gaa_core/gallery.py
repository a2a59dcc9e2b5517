"""One page that shows every figure of a folder with what it claims: plain HTML, no network, fit for a phone."""

from __future__ import annotations

from html import escape
from pathlib import Path

from gaa_core import report

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1c2733; --soft: #5a6775; --paper: #fdfdfb; --line: #d8dcdf; --good: #1d6f42; --bad: #a3341f;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ea; --soft: #a3adb7; --paper: #14191e; --line: #37414b; --good: #6fce98; --bad: #f09a86; }
}
body { margin: 0 auto; padding: 1rem; max-width: 70rem; color: var(--ink); background: var(--paper); }
body { font: 1rem/1.5 system-ui, sans-serif; }
h1, h2 { line-height: 1.2; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
.holds, .fails { font-weight: 600; }
.holds { color: var(--good); }
.fails { color: var(--bad); }
.notice { border-left: .3rem solid var(--bad); padding-left: .8rem; }
figure { margin: 1.5rem 0; padding-bottom: 1rem; border-bottom: 1px solid var(--line); }
img { max-width: 100%; height: auto; background: #fff; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .8rem; margin: .5rem 0; color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
code { white-space: pre-wrap; }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def gallery(folder: str | Path) -> Path:
    """Write `index.html` into a figures folder, from its PNG files, their descriptions, its claims and its MANIFEST.

    A figure without a description is shown all the same, and said to have none.
    """
    folder = Path(folder)
    manifest = report.read_json(folder / "MANIFEST.json") if (folder / "MANIFEST.json").is_file() else {}
    notebooks = manifest.get("notebooks", {})
    sections: dict[str, list[dict]] = {name: [] for name in notebooks}
    for picture in sorted(folder.glob("[!.]*.png")):  # a leading dot: left by a run that was killed
        figure = _described(picture)
        sections.setdefault(figure["notebook"], []).append(figure)
    profile = manifest.get("profile", "")
    title = "GAAvernor: figures and claims" + (f", {profile} profile" if profile else "")
    body = [f"<h1>{escape(title)}</h1>", *_notices(notebooks), "<h2>Claims</h2>", _table(folder)]
    for name, figures in sections.items():
        if figures:
            heading = notebooks.get(name, {}).get("title") or name or "Other figures"
            body += [f"<h2>{escape(heading)}</h2>", *(_figure(figure, profile) for figure in figures)]
    page = PAGE.format(title=escape(title), style=STYLE, body="\n".join(body))
    return report.write_text(folder / "index.html", page)


def _described(picture: Path) -> dict:
    nothing = {"caption": "", "alt": picture.stem, "claims": [], "data_source": "", "notebook": "", "command": ""}
    sidecar = picture.with_suffix(".json")
    return nothing | (report.read_json(sidecar) if sidecar.is_file() else {}) | {"figure": picture.name}


def _notices(notebooks: dict) -> list[str]:
    failed = [name for name, entry in notebooks.items() if entry.get("status") == "failed"]
    if not failed:
        return []
    names = escape(", ".join(failed))
    return [f'<p class="notice">Failed in the last run, so these figures may be older or missing: {names}.</p>']


def _table(folder: Path) -> str:
    rows = report.readable(report.claims_table(folder))
    if not rows:
        return "<p>No claim has been measured yet.</p>"
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    lines = "\n".join("<tr>" + "".join(_cell(folder, *cell) for cell in row.items()) + "</tr>" for row in rows)
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>'


def _cell(folder: Path, heading: str, text: str) -> str:
    if heading == "Verdict":
        return f'<td class="{escape(text.replace(" ", "-"))}">{escape(text)}</td>'
    if heading == "Figure" and (folder / f"{text}.png").is_file():
        return f'<td><a href="#{escape(text)}">{escape(text)}</a></td>'
    return f"<td>{escape(text)}</td>"


def _figure(figure: dict, profile: str) -> str:
    source, name, alt = (escape(text) for text in (figure["figure"], Path(figure["figure"]).stem, figure["alt"]))
    command = figure["command"]
    if profile not in ("", "quick") and "gaa_core reproduce" in command and "--profile" not in command:
        command += f" --profile {profile}"  # a notebook need not know under which profile it runs
    facts = {
        "Claim": escape(", ".join(figure["claims"])),
        "Data": escape(figure["data_source"]),
        "Notebook": escape(figure["notebook"]),
        "Rebuild": f"<code>{escape(command)}</code>" if command else "",
    }
    listed = "".join(f"<dt>{term}</dt><dd>{fact}</dd>" for term, fact in facts.items() if fact)
    caption = escape(figure["caption"]) or "This figure has no description."
    return (
        f'<figure id="{name}">\n<img src="{source}" alt="{alt}" loading="lazy">\n'
        f"<figcaption>{caption}</figcaption>\n<dl>{listed}</dl>\n</figure>"
    )
