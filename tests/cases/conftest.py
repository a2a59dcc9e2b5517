"""What the tests of the cases share."""

from collections.abc import Callable

import pytest
import torch

from gaa_core.cases import CaseData, CaseStudy


@pytest.fixture
def trained() -> Callable[..., float]:
    """Trains a case by large-batch SGD, as the mean of benign workers does, and returns its test accuracy."""

    def train(case: CaseStudy, data: CaseData, *, steps: int | None = None, batch: int | None = None) -> float:
        settings, generator = case.settings, torch.Generator().manual_seed(0)
        torch.manual_seed(0)
        model = case.network(data)
        optimiser = torch.optim.SGD(model.parameters(), lr=settings.lr)
        for _ in range(steps or settings.steps):
            rows = torch.randint(len(data.train), (batch or settings.batch_size * settings.n,), generator=generator)
            optimiser.zero_grad()
            case.loss(model(data.train.inputs[rows]), data.train.targets[rows]).backward()
            optimiser.step()
        return case.score(model(data.test.inputs), data.test.targets)

    return train


@pytest.fixture
def packaged(monkeypatch) -> Callable[[CaseStudy], CaseData]:
    """Loads a case's packaged data, whatever GAA_DATA is."""

    def load(case: CaseStudy) -> CaseData:
        monkeypatch.delenv("GAA_DATA", raising=False)
        return case.load()

    return load
