"""What a report shows of a diagnosis: its remarks, and what was measured for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from seqtrain.diagnosis import Remark
from seqtrain.diagnosis.remarks import worst_first
from seqtrain.recipes.diagnosis import FILE_NAME
from seqtrain.report import records
from seqtrain.report.records import Bars, Chart, Curve, Section, Series

_MAX_CHARTS = 24
"""Deep networks have more layers than anybody looks at: of those, the first and the last."""


def diagnosis_section(folder: Path, remarks: Sequence[Remark] | None) -> Section | None:
    """Remarks, warnings first, with the loss of the one batch that was to be learnt by heart and the histograms.

    Args:
        folder: of the run, which has what was measured in ``debug.json``.
        remarks: None where the run was not diagnosed.
    """
    if remarks is None:
        return None
    kept = _read(folder)
    losses = np.array([np.nan if each is None else each for each in kept.get("overfit_one_batch", ())], np.float64)
    charts: list[Chart] = []
    if len(losses):
        series = (Series(name="loss", x=np.arange(len(losses)), y=losses),)
        title = "One batch, to be learnt by heart"
        charts.append(Curve(title=title, x_label="step on a copy", y_label="loss", series=series))
    bars = [Bars(**{**each, "names": tuple(each["names"])}) for each in kept.get("histograms", ())]
    dropped = max(len(bars) - _MAX_CHARTS, 0)
    charts += bars if not dropped else [*bars[: _MAX_CHARTS // 2], *bars[-_MAX_CHARTS // 2 :]]
    note = "Histograms of activations and of gradients at the end of the training."
    if dropped:
        note += f" {dropped} of {len(bars)} layers in the middle are left out; debug.json has them."
    return Section(
        title="Diagnosis",
        remarks=tuple(map(_in_sentences, worst_first(remarks))),
        charts=tuple(charts),
        note=note if bars else "",
        early=True,
    )


def _in_sentences(remark: Remark) -> records.Remark:
    """What was looked at, what was found, and what to do."""
    advice = f"{remark.advice[0].upper()}{remark.advice[1:]}." if remark.advice else ""
    words = f"{remark.check[0].upper()}{remark.check[1:]}: {remark.words}."
    return records.Remark(severity=remark.severity, words=words, advice=advice)


def _read(folder: Path) -> dict[str, Any]:
    path = folder / FILE_NAME
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
