"""Descriptions of figures, claims and their verdicts, and the gallery."""

import re
import shutil
from functools import partial
from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaa_core import files, gallery, report
from gaa_core.errors import DataError, GaaError


def test_verdict_has_its_bound_at_two_points_and_an_interval_around_it_decides_nothing():
    assert report.verdict(None) == "not run"
    assert report.verdict(-3.0) == report.verdict(2.0) == "holds"
    assert report.verdict(100 * 0.90 - 100 * 0.88) == "holds"  # 2.0000000000000142 in floats
    assert report.verdict(2.001) == "fails"
    assert report.verdict(2.5, bound=3.0) == "holds"
    bounds = {(0.0, 2.0): "holds", (0.0, 2.1): "undecided", (2.0, 3.0): "undecided", (2.1, 3.0): "fails"}
    for (low, high), told in bounds.items():
        assert report.verdict(report.Interval((low + high) / 2, low, high)) == told


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_an_interval_stays_within_what_was_measured(values):
    """Student's interval of two or three seeds went beyond 100 %."""
    measured = report.interval(values)
    assert measured.mean == pytest.approx(sum(values) / len(values))
    if len(values) > 1:
        assert min(values) - 1e-9 <= measured.low <= measured.high <= max(values) + 1e-9


def test_interval_is_that_of_bootstrap_means():
    assert report.interval([5.0]).text() == "5.0"
    assert report.interval([0.0, 1.0]) == report.Interval(0.5, 0.0, 1.0)  # both ends have probability 1/4
    wide = report.interval([0.0] * 50 + [1.0] * 50)
    assert (wide.low, wide.high) == (pytest.approx(0.40, abs=0.015), pytest.approx(0.60, abs=0.015))
    with pytest.raises(GaaError, match="at least one"):
        report.interval([])
    with pytest.raises(GaaError, match="finite"):
        report.interval([1.0, float("nan")])
    distance = report.gap([0.9, 0.8], [0.8, 0.7])  # the seeds differ, the distance does not
    assert distance.mean == pytest.approx(0.1)
    assert distance.high - distance.low == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(GaaError, match="2 values without attack and 1 with"):
        report.gap([0.9, 0.8], [0.8])


@pytest.fixture
def figures(tmp_path):
    first = report.Claims(tmp_path, "01_mnist")
    common = {"case": "MNIST", "data_source": "MNIST | 5,000"}
    first.compare("C10", setting="a", clean=[0.9], attacked=[0.5], **common)
    first.compare("C2", setting="7 of 10", clean=[0.9, 0.92], attacked=[0.89, 0.91], figure="curve", **common)
    first.write()
    second = report.Claims(tmp_path, "02_other")
    second.not_run("C3", case="CIFAR-10", setting="9 of 10")
    measured = report.Interval(0.98, 0.97, 0.99)
    second.add("C9", case="MNIST", setting="AUC", measured=measured, verdict="holds", data_source="made <up>")
    second.write()
    (tmp_path / ".curve.pending.png").write_bytes(b"left by a run that was killed")
    for name in ("curve", "bare"):
        (tmp_path / f"{name}.png").write_bytes(b"not looked at")
    report.write_sidecar(
        tmp_path / "curve.png",
        caption='Accuracy under "attack" & <none>',
        alt="Two curves, the upper one without attack",
        claim="C2",
        data_source="MNIST, 5,000",
        notebook="01_mnist",
    )
    return tmp_path


def test_claims_of_all_notebooks_are_merged_in_their_order(figures):
    table = report.write_claims(figures)
    assert list(table["claim"]) == ["C2", "C3", "C9", "C10"]
    assert list(table["verdict"]) == ["holds", "not run", "holds", "fails"]
    assert table.loc[0, ["gap", "reference"]].tolist() == pytest.approx([1.0, 91.0])
    assert list(pd.read_csv(figures / "claims.csv")["claim"]) == ["C2", "C3", "C9", "C10"]
    lines = report.markdown(report.readable(table)).splitlines()
    assert len(lines) == 6
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 11 for line in lines)  # the | in a data source is escaped
    assert "40.0 points" in lines[5] and "50.0 %" in lines[5]
    assert "0.980 [0.970, 0.990]" in lines[4]
    sketch = report.Claims(figures / "sketch", "01_mnist")  # a further folder adds what no earlier one has
    for claim in ("C2", "C4"):
        sketch.not_run(claim, case="MNIST", setting="sketch")
    sketch.not_run("C2", case="MNIST", setting="GAAPlus; sketch")  # one agent alone, in a folder of its own
    sketch.write()
    found = list(report.claims_table(figures, figures / "sketch")["setting"])
    assert found[:4] == ["7 of 10", "GAAPlus; sketch", "9 of 10", "sketch"]
    page = gallery.claims_page(figures / "claims.md", figures, figures / "sketch").read_text()
    assert page.count("## C2 MNIST\n") == 1 and page.index("| 7 of 10 |") < page.index("| GAAPlus; sketch |")


def test_what_is_not_fit_to_be_reported_is_refused(figures, tmp_path):
    claims = report.Claims(tmp_path, "x")
    with pytest.raises(GaaError, match="Did you mean 'holds'"):
        claims.add("C9", case="a", setting="b", measured=1.0, verdict="hold", data_source="c")
    with pytest.raises(GaaError, match="C1, C2"):
        claims.not_run("claim 2", case="a", setting="b")
    with pytest.raises(GaaError, match="needs words for its caption"):
        report.write_sidecar(tmp_path / "a.png", caption="", alt="x", data_source="x")
    (figures / "claims" / "01_mnist.json").write_text('[{"claim": "C2"')
    with pytest.raises(DataError, match=r"01_mnist\.json is damaged"):
        report.claims_table(figures)


def test_no_claims_is_a_table_too(tmp_path):
    assert len(report.write_claims(tmp_path)) == 0
    assert "No claim" in gallery.claims_page(tmp_path / "claims.md", tmp_path).read_text()
    assert "No claim" in gallery.gallery(tmp_path).read_text()


def test_writing_is_all_or_nothing(tmp_path):
    path = files.write(tmp_path / "deep" / "file.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        files.write(path, "new, then something that cannot be written: \ud800")
    assert path.read_text() == "old"
    assert [item.name for item in path.parent.iterdir()] == ["file.txt"]
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, {"loss": float("nan")})


@pytest.fixture
def judged(tmp_path):
    claims = report.Claims(tmp_path, "01_mnist")
    common = {"case": "MNIST", "data_source": "toy", "figure": "mnist_static"}
    for setting, under in [("GAA; a", 0.9), ("GAA; b", 0.5), ("GAA, bounded; a", 0.89), ("GAAPlus; a", 0.9)]:
        claims.compare("C2", setting=setting, clean=[0.9, 0.92], attacked=[under, under + 0.01], **common)
    claims.compare("C2", setting="GAA; a; stress", clean=[0.9, 0.92], attacked=[0.1, 0.1], **common)
    claims.add("C9", setting="AUC; a", measured=0.99, verdict="holds", **common)
    claims.not_run("C2", case="CIFAR-10", setting="GAA; a")
    claims.write()
    return report.claims_table(tmp_path)


def test_the_matrix_counts_settings_and_shows_the_widest_gap(judged):
    rows = report.matrix(judged).set_index(["claim", "agent"])
    gaa = rows.loc["C2", "GAA"]
    assert (gaa["holds"], gaa["fails"], gaa["settings"], gaa["verdict"]) == (1, 1, 2, "fails")
    assert gaa["gap"] == pytest.approx(40.5) and gaa["setting"] == "GAA; b" and gaa["figure"] == "mnist_static"
    assert rows.loc["C2", "bounded"]["verdict"] == "holds"
    assert rows.loc["C9", "all rules"]["settings"] == 1
    lines = report.plain(judged).splitlines()
    assert max(map(len, lines)) <= 80 and "1/2 1/1 1/1" in lines[-2] and "1/1" in lines[-1]


def test_the_readme_s_block_is_rewritten_and_every_cell_leads_to_its_rows(judged, tmp_path):
    page = tmp_path / "README.md"
    page.write_text(f"before\n{report.BEGIN}\nformer table\n{report.END}\nafter\n")
    update = partial(report.update_readme, page, judged, "claims.md")
    once = update().read_text()
    assert once.startswith(f"before\n{report.BEGIN}\n") and once.endswith(f"{report.END}\nafter\n")
    assert "former" not in once and "[1/2, 40.5 [40.0, 41.0]<br>1/1, 1.5 [" in once and update().read_text() == once
    (tmp_path / "mnist_static.png").write_bytes(b"made up")
    text = gallery.claims_page(tmp_path / "claims.md", tmp_path).read_text()
    places = {part.split("\n")[0].lower().replace(" ", "-"): part for part in re.split(r"(?m)^## ", text)[1:]}
    assert re.findall(r"claims\.md#([\w-]+)", once) == ["c2-mnist", "c9-mnist"]
    assert {"c2-mnist", "c9-mnist"} < set(places) and places["c2-mnist"].count("GAA; a") == 2
    assert all(part in places["c2-mnist"] for part in ("(mnist_static.png)", "--only 01_mnist", "GAA; a; stress"))
    for wrong in ("no markers", f"{report.END} {report.BEGIN}", f"{report.BEGIN}{report.BEGIN}{report.END}"):
        page.write_text(wrong)
        with pytest.raises(GaaError, match="once and in this order"):
            update()


def test_a_page_of_somebody_else_is_never_replaced(tmp_path):
    """`--figures DIR` with a site in it would have lost its index.html."""
    page = tmp_path / "index.html"
    page.write_text("<html>my home page</html>")
    with pytest.raises(GaaError, match="was not written by this package"):
        gallery.gallery(tmp_path)
    assert page.read_text() == "<html>my home page</html>"


class Page(HTMLParser):
    """What a page has of each tag, where its links lead, and the places within it; its tags close."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.pictures, self.targets, self.names, self.metas = [], [], [], set(), set()
        self.feed(text)
        assert self.open == [] and "http" not in text and "<script" not in text

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.names.add(found.get("id"))
        self.metas.add(found.get("name"))
        self.pictures += [found] if tag == "img" else []
        self.targets += [found["href"]] if tag == "a" else []
        self.open += [tag] if tag not in ("meta", "img", "link", "input", "br") else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_gallery_shows_everything_and_needs_nothing_from_elsewhere(figures):
    files.write_json(figures / "MANIFEST.json", {"profile": "quick", "notebooks": {"01_mnist": {"title": "MNIST <1>"}}})
    for name in ("moving.gif", "trace.html", "claims_matrix.png"):  # the last one stands in the page as a table
        (figures / name).write_bytes(b"made up")
    text = gallery.gallery(figures).read_text()
    page = Page(text)
    assert {picture["src"] for picture in page.pictures} == {"curve.png", "bare.png", "moving.gif"}
    assert "trace.html" in page.targets
    assert all(picture["alt"] and (figures / picture["src"]).is_file() for picture in page.pictures)
    assert "Accuracy under &#34;attack&#34; &amp; &lt;none&gt;" in text
    assert "MNIST &lt;1&gt;" in text and "made &lt;up&gt;" in text
    assert "python -m gaa_core reproduce --only 01_mnist" in text
    files.write_json(figures / "MANIFEST.json", {"profile": "paper"})
    assert "reproduce --only 01_mnist --profile paper<" in gallery.gallery(figures).read_text()
    assert "prefers-color-scheme: dark" in text and "viewport" in page.metas
    assert {target[1:] for target in page.targets if target.startswith("#")} <= page.names


def test_entry_shows_the_first_profile_and_leads_to_the_others(figures, tmp_path_factory):
    root = tmp_path_factory.mktemp("figures")
    assert gallery.entry(root) is None
    for name in ("smoke", "quick", "paper"):
        shutil.copytree(figures, root / name)
        rules = {"rules": ["GAAPlus"]} if name == "quick" else {}
        files.write_json(root / name / "MANIFEST.json", {"profile": name} | rules)
    text = gallery.entry(root).read_text()
    page = Page(text)
    assert "</a>: GAAPlus alone; README&#39;s table has these rows. 2 figures" in text
    assert [picture["src"] for picture in page.pictures] == ["paper/bare.png", "paper/curve.png"]
    assert all(picture["alt"] for picture in page.pictures)
    assert all((root / target).is_file() for target in page.targets if not target.startswith("#"))
    assert "quick/index.html" in page.targets and "smoke/index.html" not in page.targets
    assert "2 figures; rows of the claims table: 2 holds, 1 fails, 1 not run." in text
    assert "reproduce --only 01_mnist --profile paper<" in text
    assert "../index.html" in Page((root / "quick" / "index.html").read_text()).targets
    assert gallery.entry(root).read_text() == text
    shutil.rmtree(root / "paper")
    assert '"quick/curve.png"' in gallery.entry(root).read_text()


def test_the_matrix_is_drawn_once_an_agent_was_judged(judged, tmp_path):
    gallery.draw_claims(judged[judged["claim"] == "C9"], tmp_path)
    assert not list(tmp_path.glob("*.png"))
    gallery.draw_claims(judged, tmp_path)
    described = files.read_json(tmp_path / "claims_matrix.json")
    assert described["claims"] == ["C2"] and described["data_source"] == "toy"
    assert (tmp_path / "claims_matrix.png").is_file()
