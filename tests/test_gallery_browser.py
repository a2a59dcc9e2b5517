"""The gallery in a real Chromium: on a screen, a tablet and a phone, by day and by night."""

from pathlib import Path

import pytest
from coloraide import Color

from gaa_core import files, gallery, plots, report

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page_of_figures(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("figures")
    for name in gallery.PROFILES:
        fig, (ax, _) = plots.panels(2)
        plots.bars({"a": 1.0, "b": 2.0}, ax=ax, title="Two bars")
        words = {"caption": "Two bars, side by side. " * 4, "alt": "Two bars.", "data_source": "made up"}
        plots.save(fig, "bars", folder=root / name, claim="C1", notebook="01_mnist", **words)
        claims = report.Claims(root / name, "01_mnist")
        long = {"setting": "GAA, bounded; reversion x1, static; worst of 50%, 70%, 90%: 90%", "data_source": "x" * 60}
        claims.compare("C2", case="MNIST", clean=[0.9, 0.92], attacked=[0.5, 0.6], figure="bars", **long)
        claims.write()
        files.write_json(root / name / "MANIFEST.json", {"profile": name})
    return gallery.entry(root)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 800, 390])
def test_the_gallery_fits_reads_and_stays_at_home(browser, look, page_of_figures, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, asked, wrong = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(page_of_figures.as_uri())
    page.locator("figure").scroll_into_view_if_needed()
    page.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    look(page, f"gallery_{width}_{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(image => image.alt && image.getBoundingClientRect().left >= 0)")
    assert colour(page, "color").contrast(colour(page, "backgroundColor")) >= 7  # of WCAG 2
    assert colour(page, "color", "td.fails").contrast(colour(page, "backgroundColor")) >= 4.5
    assert colour(page, "backgroundColor", "img") == Color("rgb(255, 255, 255)")
    assert wrong == [] and all(url.startswith("file:") for url in asked)
    for name in gallery.PROFILES[1:]:
        page.get_by_role("link", name=name, exact=True).click()
        page.get_by_role("link", name="All profiles").click()
        assert page.url == page_of_figures.as_uri()
    context.close()


def colour(page, name: str, selector: str = "body") -> Color:
    """A computed colour."""
    return Color(page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).{name}"))
