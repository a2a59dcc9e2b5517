"""The claims in the README: the worst setting speaks for a claim."""

import pytest

from gaa_core import readme, report
from gaa_core.errors import GaaError


@pytest.fixture
def table(tmp_path):
    claims = report.Claims(tmp_path, "01_mnist")
    common = {"case": "MNIST", "data_source": "toy", "figure": "mnist_static"}
    for setting, under in [("GAA; a", 0.9), ("GAA; b", 0.5), ("GAA, bounded; a", 0.89)]:
        claims.compare("C2", setting=setting, clean=[0.9, 0.9], attacked=[under, under], **common)
    claims.add("C9", setting="AUC; a", measured=0.99, verdict="holds", **common)
    claims.add("C9", setting="AUC; b", measured=0.98, verdict="fails", **common)
    claims.write()
    return report.claims_table(tmp_path)


def test_the_widest_gap_speaks_for_an_agent(table):
    worst = readme.worst(table)
    assert list(worst["setting"]) == ["GAA; b (worst of 2 settings; 1 hold)", "GAA, bounded; a", "AUC; a", "AUC; b"]
    assert list(worst["verdict"]) == ["fails", "holds", "holds", "fails"]
    assert worst["gap"].iloc[0] == pytest.approx(40)


def test_the_block_is_rewritten_and_nothing_else(table, tmp_path):
    page = tmp_path / "README.md"
    page.write_text(f"before\n{readme.BEGIN}\nformer table\n{readme.END}\nafter\n")
    readme.update(page, table)
    once = page.read_text()
    assert once.startswith(f"before\n{readme.BEGIN}\n") and once.endswith(f"{readme.END}\nafter\n")
    assert "former" not in once
    assert "[mnist_static](figures/paper/mnist_static.png)" in once
    assert "[01_mnist](notebooks/01_mnist.ipynb)" in once
    readme.update(page, table)
    assert page.read_text() == once
    readme.update(page, table, "figures/quick")
    assert "| mnist_static |" in page.read_text(), "a picture that is not in the repository cannot be linked"


def test_markers_are_needed_once_and_in_order(table, tmp_path):
    page = tmp_path / "README.md"
    for text in ("no markers", f"{readme.END} {readme.BEGIN}", f"{readme.BEGIN}{readme.BEGIN}{readme.END}"):
        page.write_text(text)
        with pytest.raises(GaaError, match="once and in this order"):
            readme.update(page, table)
