"""One page that shows every figure of a folder with what it claims: plain HTML, no network, fit for a phone."""

from __future__ import annotations

from html import escape
from pathlib import Path

from gaa_core import report

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1c2733; --soft: #5a6775; --paper: #fdfdfb; --line: #d8dcdf; --good: #1d6f42; --bad: #a3341f;
  --link: #0b5cad;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ea; --soft: #a3adb7; --paper: #14191e; --line: #37414b; --good: #6fce98; --bad: #f09a86;
    --link: #8ec5ff; }
}
body { margin: 0 auto; padding: 1rem; max-width: 70rem; color: var(--ink); background: var(--paper); }
body { font: 1rem/1.5 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.2; }
h2 { margin-top: 2.5rem; }
a { color: var(--link); }
:focus-visible { outline: .2rem solid var(--link); outline-offset: .1rem; }
nav ul { padding-left: 1.2rem; columns: 18rem auto; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
.holds, .fails { font-weight: 600; }
.holds { color: var(--good); }
.fails { color: var(--bad); }
.notice { border-left: .3rem solid var(--bad); padding-left: .8rem; }
.profile { border: 1px solid var(--line); border-radius: .5rem; padding: .5rem 1rem; margin: 1rem 0; }
.profile h2 { margin: .3rem 0; }
figure { margin: 1.5rem 0; padding-bottom: 1rem; border-bottom: 1px solid var(--line); scroll-margin-top: 1rem; }
img { max-width: 100%; height: auto; box-sizing: border-box; padding: .5rem; background: #fff; color: #1c2733; }
img { border-radius: .4rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .8rem; margin: .5rem 0; color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
code { white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 45rem) {
  thead { display: block; position: absolute; width: 1px; height: 1px; overflow: hidden; }
  tr { display: block; padding: .6rem 0; border-bottom: 1px solid var(--line); }
  td { display: grid; grid-template-columns: 6rem 1fr; padding: .1rem 0; border: 0; overflow-wrap: anywhere; }
  td::before { content: attr(data-label); color: var(--soft); font-weight: 400; }
  td:empty { display: none; }
}
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


#: The profiles that the entry page knows, the most thorough first.
PROFILES = ("paper", "quick")


def gallery(folder: str | Path) -> Path:
    """Write `index.html` into a figures folder, from its PNG files, their descriptions, its claims and its MANIFEST.

    A figure without a description is shown all the same, and said to have none.
    """
    folder = Path(folder)
    manifest = _manifest(folder)
    profile = manifest.get("profile", "")
    title = "GAAvernor: figures and claims" + (f", {profile} profile" if profile else "")
    up = folder.name in PROFILES and (folder.parent / "index.html").is_file()
    back = ['<p><a href="../index.html">All profiles</a></p>'] if up else []
    body = [f"<h1>{escape(title)}</h1>", *back, *_contents(folder, manifest)]
    return _write(folder, title, body)


def entry(root: str | Path) -> Path | None:
    """Write `index.html` beside the folders of the profiles: the first profile in full, the others by their pages.

    The pages of the profiles are written anew as well. None where no profile has been built.
    """
    root = Path(root)
    built = [name for name in PROFILES if any((root / name).glob("[!.]*.png"))]
    if not built:
        return None
    first, *others = built
    title = "GAAvernor: figures and claims"
    manifest = _manifest(root / first)
    body = [f"<h1>{title}</h1>", f"<p>{_tally(root / first, first)}</p>", *(_card(root / name) for name in others)]
    body += _contents(root / first, manifest, prefix=f"{first}/")
    page = _write(root, title, body)
    for name in built:
        gallery(root / name)
    return page


def _write(folder: Path, title: str, body: list[str]) -> Path:
    page = PAGE.format(title=escape(title), style=STYLE, body="\n".join(body))
    return report.write_text(folder / "index.html", page)


def _manifest(folder: Path) -> dict:
    path = folder / "MANIFEST.json"
    return report.read_json(path) if path.is_file() else {}


def _contents(folder: Path, manifest: dict, prefix: str = "") -> list[str]:
    """What there is to see of a profile; `prefix` leads from the page to its pictures."""
    notebooks = manifest.get("notebooks", {})
    sections: dict[str, list[dict]] = {name: [] for name in notebooks}
    for picture in sorted(folder.glob("[!.]*.png")):  # a leading dot: left by a run that was killed
        figure = _described(picture)
        sections.setdefault(figure["notebook"], []).append(figure)
    headings = {name: notebooks.get(name, {}).get("title") or name or "Other figures" for name in sections}
    shown = {name: figures for name, figures in sections.items() if figures}
    links = [f'<li><a href="#{_anchor(name)}">{escape(headings[name])}</a> ({len(shown[name])})</li>' for name in shown]
    body = [*_notices(notebooks)]
    if links:
        body.append(
            f'<nav aria-label="Contents"><ul>\n<li><a href="#claims">Claims</a></li>\n{"".join(links)}\n</ul></nav>'
        )
    body += ['<h2 id="claims">Claims</h2>', _table(folder)]
    for name, figures in shown.items():
        body += [f'<h2 id="{_anchor(name)}">{escape(headings[name])}</h2>']
        body += [_figure(folder, figure, manifest.get("profile", ""), prefix) for figure in figures]
    return body


def _anchor(notebook: str) -> str:
    return "notebook-" + ("".join(letter if letter.isalnum() else "-" for letter in notebook) or "none")


def _card(folder: Path) -> str:
    name = escape(folder.name)
    heading = f'<h2><a href="{name}/index.html">{name} profile</a></h2>'
    return f'<section class="profile">{heading}<p>{_tally(folder, name)}</p></section>'


def _tally(folder: Path, name: str) -> str:
    """One sentence on how much there is, failures in it like what holds."""
    verdicts = [row.get("Verdict", "") for row in report.readable(report.claims_table(folder))]
    counts = ", ".join(f"{verdicts.count(each)} {each}" for each in report.VERDICTS if each in verdicts)
    pictures = len(list(folder.glob("[!.]*.png")))
    figures = "figure" if pictures == 1 else "figures"
    rows = f"; rows of the claims table: {counts}" if counts else ""
    return (
        f"{escape(name)} profile: {pictures} {figures}{rows}. "
        f"Built by <code>python -m gaa_core reproduce --profile {escape(name)}</code>."
    )


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
    label = 'role="region" aria-label="Table of claims" tabindex="0"'  # so that the arrow keys scroll it
    return (
        f'<div class="scroll" {label}><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>'
    )


def _cell(folder: Path, heading: str, text: str) -> str:
    label = f'data-label="{escape(heading)}"'
    if heading == "Verdict":
        return f'<td {label} class="{escape(text.replace(" ", "-"))}">{escape(text)}</td>'
    if heading == "Figure" and (folder / f"{text}.png").is_file():
        return f'<td {label}><a href="#{escape(text)}">{escape(text)}</a></td>'
    return f"<td {label}>{escape(text)}</td>"


def _figure(folder: Path, figure: dict, profile: str, prefix: str) -> str:
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
    image = f'<img src="{prefix}{source}" alt="{alt}" loading="lazy"{_size(folder / figure["figure"])}>'
    return (
        f'<figure id="{name}">\n<a href="{prefix}{source}">{image}</a>\n'
        f"<figcaption>{caption}</figcaption>\n<dl>{listed}</dl>\n</figure>"
    )


def _size(picture: Path) -> str:
    """Width and height as attributes, so that the page does not jump while pictures load; nothing where unreadable."""
    head = picture.read_bytes()[:24]
    if head[:8] != b"\x89PNG\r\n\x1a\n" or len(head) < 24:
        return ""
    return f' width="{int.from_bytes(head[16:20])}" height="{int.from_bytes(head[20:24])}"'
