"""What a finished run tells its reader: ``report.html``, gathered from the files of the run and the scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.diagnosis import Remark
from seqtrain.io.splits import VALID
from seqtrain.labeled import LabeledData
from seqtrain.objectives import SelfSupervised
from seqtrain.recipes.findings import Findings
from seqtrain.recipes.letters_guessed import LettersGuessed, letters_section
from seqtrain.recipes.pretext_labels import CONSTANT_LOSS, constant_guesses
from seqtrain.recipes.reported_classes import calibration_of, classes_of, rankings_of
from seqtrain.recipes.reported_data import NO_TEST_SET, map_section, split_section
from seqtrain.recipes.reported_diagnosis import diagnosis_section
from seqtrain.recipes.reported_predictions import (
    Predicted,
    confusions_of,
    figures_of,
    lengths_of,
    mistakes_of,
    residuals_of,
    scatters_of,
    worst_of,
)
from seqtrain.recipes.reported_run import configuration_of, curves_of, environment_of, ledger_of
from seqtrain.recipes.self_supervision import known_measures, outcome
from seqtrain.report.html import write_report
from seqtrain.report.records import Figure, Report
from seqtrain.scoring import MAIN_METRIC

_KINDS = {"distill": "Distilling"}


def pretrain_report(
    folder: Path,
    results: Mapping[str, Any],
    objective: SelfSupervised,
    *,
    letters: LettersGuessed | None = None,
    diagnosis: Sequence[Remark] | None = None,
) -> None:
    """Write the report of a pretraining run, with what was looked at beside its results."""
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    valid, floor = results["valid"], results["unigram_perplexity"]
    held_out = (
        f"{results['valid_records']:,} held-out records that the model was not trained on. Homologues of them may have "
        "been."
    )
    summary: tuple[str, ...]
    figures: tuple[Figure, ...]
    if objective.predicts_letters:
        summary = (
            f"The held-out perplexity is {valid['perplexity']:.2f}; letter frequencies alone give {floor:.2f}.",
            f"Of the masked letters, {valid['accuracy']:.1%} were guessed right, in {held_out}",
        )
        perplexity = Figure(
            test_set="held out",
            metric="perplexity",
            value=valid["perplexity"],
            baselines=(("letter frequencies", floor),),
        )
        figures = (perplexity, Figure(test_set="held out", metric="masked accuracy", value=valid["accuracy"]))
        curves = curves_of(folder, "loss (nats per masked letter)", ("perplexity",))
    else:
        summary = (f"H{outcome(objective, valid, floor)[1:]}, on {held_out}",)
        valid = known_measures(valid)
        figures = tuple(
            Figure(test_set="held out", metric=name, value=value, baselines=constant_guesses(objective, name, valid))
            for name, value in valid.items()
            if name != CONSTANT_LOSS
        )
        curves = curves_of(folder, "loss", tuple(name for name in valid if name not in ("loss", CONSTANT_LOSS)))
    write_report(
        folder / "report.html",
        Report(
            title=f"Pretraining {folder.name}",
            command=record["command"],
            summary=summary,
            figures=figures,
            sections=tuple(filter(None, (diagnosis_section(folder, diagnosis), letters_section(letters)))),
            curves=curves,
            ledger=ledger_of(folder),
            configuration=configuration_of(record),
            environment=environment_of(record, results),
        ),
    )


def finetune_report(
    folder: Path,
    results: Mapping[str, Any],
    data: LabeledData,
    outputs: NDArray[np.float32],
    findings: Findings,
    remarks: Sequence[str] = (),
) -> None:
    """Write the report of a finetuning run; ``remarks`` are sentences that stand in its summary."""
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    task, predicted = data.task, Predicted.of(data, outputs, findings.scored)
    confusions = confusions_of(predicted)
    sections = (
        split_section(data, findings.leakage),
        diagnosis_section(folder, findings.diagnosis),
        residuals_of(predicted),
        mistakes_of(confusions),
        rankings_of(predicted),
        calibration_of(findings.reliability),
        lengths_of(predicted),
        map_section(predicted, findings.embedding_map),
    )
    ordered = sorted(findings.scored, key=lambda each: each.name == VALID)
    hopeful = () if data.split.test_sets else (NO_TEST_SET,)
    said = [f"{line[0].upper()}{line[1:]}." for each in predicted.scored for line in each.words(task)]
    write_report(
        folder / "report.html",
        Report(
            title=f"{_KINDS.get(record['facts']['kind'], 'Finetuning')} {folder.name}",
            command=record["command"],
            summary=(*said[:1], *hopeful, *said[1:], *remarks, f"Task: {task.words}.", *data.warnings),
            figures=tuple(figure for each in ordered for figure in figures_of(each, task)),
            sections=tuple(section for section in sections if section is not None),
            curves=curves_of(folder, "loss", (MAIN_METRIC[type(task)],)),
            scatters=scatters_of(predicted),
            confusions=confusions,
            worst=worst_of(predicted, findings.leakage),
            classes=classes_of(predicted),
            ledger=ledger_of(folder),
            configuration=configuration_of(record),
            environment=environment_of(record, results),
        ),
    )
