"""Make a handout and slides of every lesson: python notebooks/teaching/handouts.py FOLDER [--solutions]

The handout is one page with what the lesson is about and its exercises; slides have a slide per section. With
`--solutions` the solution notebooks are taken and executed first, so that slides have their pictures (minutes).
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter, SlidesExporter

HERE = Path(__file__).resolve().parent
PAGE = """<!doctype html><meta charset="utf-8"><title>{title}</title><style>
@page {{size: A4; margin: 10mm}} body {{font: 8pt/1.3 sans-serif; columns: 2; column-gap: 6mm}}
pre {{white-space: pre-wrap; font-size: 7pt; background: #f4f4f4; padding: 2px; break-inside: avoid}}
h1 {{font-size: 13pt; margin: 0}} h2 {{font-size: 10pt; margin: 6px 0 0}} h3 {{font-size: 9pt; margin: 6px 0 0}}
p, ul, ol {{margin: 3px 0}} .anchor-link, .prompt, .jp-InputPrompt {{display: none}}
</style>{body}"""


def handout(lesson: nbformat.NotebookNode) -> str:
    """One page of HTML: the opening, each exercise with its minutes and its stub, and the closing of a lesson."""
    opening, closing = lesson.cells[0], lesson.cells[-1]
    cells = [nbformat.v4.new_markdown_cell(opening.source)]
    for before, cell in zip(lesson.cells, lesson.cells[1:], strict=False):
        if "exercise" in cell.metadata.get("tags", []):
            asked = before.source[before.source.rfind("### ") :] if "### " in before.source else before.source
            cells += [nbformat.v4.new_markdown_cell(asked), nbformat.v4.new_code_cell(cell.source)]
    page = nbformat.v4.new_notebook(metadata=lesson.metadata, cells=[*cells, closing])
    body = HTMLExporter(template_name="basic", exclude_input_prompt=True).from_notebook_node(page)[0]
    return PAGE.format(title=opening.source.splitlines()[0].lstrip("# "), body=body)


def slides(lesson: nbformat.NotebookNode) -> str:
    """A slide per section and one below it per exercise, as HTML; checks and settings are left out."""
    for cell in lesson.cells:
        tags, kind = cell.metadata.get("tags", []), "-"
        if cell.cell_type == "markdown" and (heading := re.search(r"^(#+) ", cell.source, re.M)):
            kind = "slide" if len(heading.group(1)) <= 2 else "subslide"
        cell.metadata["slideshow"] = {"slide_type": "skip" if {"check", "parameters"} & set(tags) else kind}
    return SlidesExporter().from_notebook_node(lesson)[0]


def build(folder: Path, solutions: bool = False) -> list[Path]:
    """Write `<lesson>_handout.html` and `<lesson>_slides.html` into a folder; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for path in sorted((HERE / "solutions" if solutions else HERE).glob("*.ipynb")):
        lesson = nbformat.read(path, as_version=4)
        if solutions:
            NotebookClient(lesson, resources={"metadata": {"path": path.parent}}).execute()
        for name, page in {"handout": handout(lesson), "slides": slides(lesson)}.items():
            target = folder / f"{path.stem}_{name}.html"
            target.write_text(page, encoding="utf-8")
            written.append(target)
    return written


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--solutions", action="store_true", help="executed solution notebooks instead of lessons")
    options = parser.parse_args()
    print("\n".join(map(str, build(options.folder, options.solutions))))
