"""What can be chosen in the playground, and that the text of a choice says it again."""

import pytest

from gaa_core import aggregators, attacks
from gaa_core.aggregators import GAA, Bulyan, Krum, Mean, MultiKrum
from gaa_core.cases import CIFAR10, MNIST
from gaa_core.errors import GaaError
from gaa_core.widgets.setup import Setup, needs_download, offered_attacks, offered_rules, text_of

#: Every rule and attack by its class name, those of files that no list names among them.
CLASSES = {cls.__name__: cls for cls in (*aggregators.REGISTRY.values(), *attacks.REGISTRY.values())}


def test_texts_are_code_and_the_papers_agent_comes_first():
    assert [text_of(rule) for rule in offered_rules(3)][:2] == ["GAA()", "GAA(norm_bound=2.0, policy_lr=0.05)"]
    for part in filter(None, [*offered_rules(2), *offered_attacks()]):
        assert text_of(eval(text_of(part), CLASSES)) == text_of(part)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"case": "MNIST"}, "must be a CaseStudy"),
        ({"rules": (Bulyan(f=3),)}, "Bulyan.*15.*10"),  # 4f + 3 workers
        ({"rules": (Krum(f=1), MultiKrum(f=2))}, "one and the same f"),
        ({"rules": ()}, "one to three rules"),
        ({"rules": GAA()}, "one to three rules"),
        ({"rules": ("Mean()",)}, "rule must be"),
        ({"rules": (Mean,)}, "must be an instance"),
        ({"attack": "reversion"}, "attack must be"),
        ({"schedule": "statik"}, "static"),
        ({"ratio": 1.2}, "ratio must be from 0 to 1"),
        ({"n": 10.5}, "n must be"),
        ({"n": 51}, "n must be a whole number from 2 to 50"),
        ({"lr": "fast"}, "lr must be"),
    ],
)
def test_what_cannot_run_is_refused(wrong, sentence):
    with pytest.raises(GaaError, match=sentence):
        Setup(**wrong)


def test_cases_that_need_a_download_are_marked(monkeypatch, tmp_path):
    monkeypatch.delenv("GAA_DATA", raising=False)
    assert not needs_download(MNIST)
    assert needs_download(CIFAR10)
    (tmp_path / "cifar-10-batches-py").mkdir()
    monkeypatch.setenv("GAA_DATA", str(tmp_path))
    assert not needs_download(CIFAR10)
