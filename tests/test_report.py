"""Descriptions of figures, claims and their verdicts, and the gallery."""

from __future__ import annotations

import csv
import re
import shutil
from html.parser import HTMLParser

import pytest

from gaa_core import gallery, report
from gaa_core.errors import DataError, GaaError


def test_verdict_has_its_bound_at_two_points():
    assert report.verdict(None) == "not run"
    assert report.verdict(-3.0) == "holds"
    assert report.verdict(2.0) == "holds"
    assert report.verdict(100 * 0.90 - 100 * 0.88) == "holds"  # 2.0000000000000142 in floats
    assert report.verdict(2.001) == "fails"
    assert report.verdict(float("nan")) == "fails"
    assert report.verdict(2.5, bound=3.0) == "holds"


def test_interval_is_students():
    measured = report.interval([1.0, 2.0, 3.0])
    assert measured.mean == 2.0
    assert measured.high - 2.0 == pytest.approx(4.302653 / 3**0.5)  # t(0.975, 2 degrees) times 1 / sqrt(3)
    assert report.interval([5.0]) == report.Interval(5.0)
    assert report.interval([5.0]).text() == "5.0"
    assert measured.text() == "2.0 [-0.5, 4.5]"
    with pytest.raises(GaaError, match="at least one"):
        report.interval([])
    with pytest.raises(GaaError, match="finite"):
        report.interval([1.0, float("nan")])


def test_gap_is_taken_seed_by_seed():
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
    assert table.loc[0, "gap"] == pytest.approx(1.0)
    assert table.loc[0, "reference"] == pytest.approx(91.0)
    with (figures / "claims.csv").open() as file:
        assert [row["claim"] for row in csv.DictReader(file)] == ["C2", "C3", "C9", "C10"]
    lines = (figures / "claims.md").read_text().splitlines()
    assert len(lines) == 6
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 11 for line in lines)  # the | in a data source is escaped
    assert "40.0 points" in lines[5] and "50.0 %" in lines[5]
    assert "0.980 [0.970, 0.990]" in lines[4]
    plain = report.plain(table)
    assert "C10" in plain and "fails" in plain


def test_rows_are_checked(tmp_path):
    claims = report.Claims(tmp_path, "x")
    with pytest.raises(GaaError, match="Did you mean 'holds'"):
        claims.add("C9", case="a", setting="b", measured=1.0, verdict="hold", data_source="c")
    with pytest.raises(GaaError, match="C1, C2"):
        claims.not_run("claim 2", case="a", setting="b")


def test_no_claims_is_a_table_too(tmp_path):
    assert len(report.write_claims(tmp_path)) == 0
    assert "No claim" in (tmp_path / "claims.md").read_text()
    assert "No claim" in gallery.gallery(tmp_path).read_text()


def test_a_damaged_file_is_named(figures):
    (figures / "claims" / "01_mnist.json").write_text('[{"claim": "C2"')
    with pytest.raises(DataError, match=r"01_mnist\.json is damaged"):
        report.claims_table(figures)


def test_a_figure_needs_words(tmp_path):
    with pytest.raises(GaaError, match="needs words for its caption"):
        report.write_sidecar(tmp_path / "a.png", caption="", alt="x", data_source="x")


def test_writing_is_all_or_nothing(tmp_path):
    path = report.write_text(tmp_path / "deep" / "file.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        report.write_text(path, "new, then something that cannot be written: \ud800")
    assert path.read_text() == "old"
    assert [item.name for item in path.parent.iterdir()] == ["file.txt"]
    with pytest.raises(ValueError, match="JSON"):
        report.write_json(path, {"loss": float("nan")})


class Page(HTMLParser):
    """The links and pictures of a page, and whether its tags close."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_gallery_shows_everything_and_needs_nothing_from_elsewhere(figures):
    report.write_json(
        figures / "MANIFEST.json", {"profile": "quick", "notebooks": {"01_mnist": {"title": "MNIST <1>"}}}
    )
    text = gallery.gallery(figures).read_text()
    page = Page(text)
    assert page.open == []
    pictures = [attributes for tag, attributes in page.found if tag == "img"]
    assert {picture["src"] for picture in pictures} == {"curve.png", "bare.png"}
    assert all(picture["alt"] for picture in pictures)
    assert all((figures / picture["src"]).is_file() for picture in pictures)
    assert "Accuracy under &quot;attack&quot; &amp; &lt;none&gt;" in text
    assert "MNIST &lt;1&gt;" in text and "made &lt;up&gt;" in text
    assert "python -m gaa_core reproduce --only 01_mnist" in text
    report.write_json(figures / "MANIFEST.json", {"profile": "paper"})
    assert "reproduce --only 01_mnist --profile paper<" in gallery.gallery(figures).read_text()
    assert "prefers-color-scheme: dark" in text
    assert any(attributes.get("name") == "viewport" for _, attributes in page.found)
    assert "http" not in text and "<script" not in text
    assert {target[1:] for target in targets(page) if target.startswith("#")} <= names(page)


def targets(page: Page) -> list[str]:
    """Where the links of a page lead."""
    return [attributes["href"] for tag, attributes in page.found if tag == "a"]


def names(page: Page) -> set[str]:
    """What a link within a page can lead to."""
    return {attributes["id"] for _, attributes in page.found if "id" in attributes}


def test_entry_shows_the_first_profile_and_leads_to_the_others(figures, tmp_path_factory):
    root = tmp_path_factory.mktemp("figures")
    assert gallery.entry(root) is None
    for name in ("smoke", "quick", "paper"):
        shutil.copytree(figures, root / name)
        report.write_json(root / name / "MANIFEST.json", {"profile": name})
    text = gallery.entry(root).read_text()
    page = Page(text)
    assert page.open == []
    pictures = [attributes for tag, attributes in page.found if tag == "img"]
    assert [picture["src"] for picture in pictures] == ["paper/bare.png", "paper/curve.png"]
    assert all(picture["alt"] for picture in pictures)
    assert all((root / target).is_file() for target in targets(page) if not target.startswith("#"))
    assert "quick/index.html" in targets(page) and "smoke/index.html" not in targets(page)
    assert "paper profile: 2 figures; rows of the claims table: 2 holds, 1 fails, 1 not run." in text
    assert "reproduce --only 01_mnist --profile paper<" in text
    assert "http" not in text and "<script" not in text
    assert "../index.html" in targets(Page((root / "quick" / "index.html").read_text()))
    assert gallery.entry(root).read_text() == text
    shutil.rmtree(root / "paper")
    assert '"quick/curve.png"' in gallery.entry(root).read_text()


def test_the_size_of_a_picture_is_told_where_it_can_be_read(tmp_path):
    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(8) + (640).to_bytes(4) + (480).to_bytes(4))
    assert gallery._size(picture) == ' width="640" height="480"'
    picture.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert gallery._size(picture) == ""


def test_fails_stands_in_the_same_size_of_type_as_holds():
    rules = re.findall(r"([^{}]+)\{([^}]*)\}", gallery.STYLE)
    about = {name: "".join(body for selector, body in rules if name in selector) for name in (".fails", ".holds")}
    assert "font-size" not in gallery.STYLE
    assert about[".fails"].replace("--bad", "") == about[".holds"].replace("--good", "")
