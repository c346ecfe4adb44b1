"""What a finished run tells its reader: ``report.html``, gathered from the files of the run and the scores."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqtrain.evaluation.metrics import TITLES, confusion_matrix
from seqtrain.evaluation.records import Confusion, Curve, Figure, Report, Scatter, Series, Table, WorstRecord
from seqtrain.evaluation.report import write_report
from seqtrain.io.splits import TRAIN
from seqtrain.labeled import LabeledData
from seqtrain.losses import IGNORED_CLASS
from seqtrain.metrics_log import read_metrics
from seqtrain.objectives import SelfSupervised
from seqtrain.recipes.findings import Findings
from seqtrain.recipes.pretext_labels import CONSTANT_LOSS, constant_guesses
from seqtrain.recipes.self_supervision import known_measures, outcome
from seqtrain.scoring import MAIN_METRIC, Scored, rows_of, true_values
from seqtrain.tasks import Classification, MultiLabel, Regression, ResidueClassification, Task

_MAX_CONFUSION = 40
_NUM_WORST = 20
_SHOWN_METRICS = {
    Regression: ("spearman", "pearson", "r2", "mae"),
    Classification: ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "roc_auc"),
    MultiLabel: ("micro_f1", "macro_f1", "macro_roc_auc", "subset_accuracy"),
    ResidueClassification: ("accuracy", "balanced_accuracy", "macro_f1", "mcc"),
}


def pretrain_report(folder: Path, results: Mapping[str, Any], objective: SelfSupervised) -> None:
    """Write the report of a pretraining run."""
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
        curves = _curves(folder, "loss (nats per masked letter)", ("perplexity",))
    else:
        summary = (f"H{outcome(objective, valid, floor)[1:]}, on {held_out}",)
        valid = known_measures(valid)
        figures = tuple(
            Figure(test_set="held out", metric=name, value=value, baselines=constant_guesses(objective, name, valid))
            for name, value in valid.items()
            if name != CONSTANT_LOSS
        )
        curves = _curves(folder, "loss", tuple(name for name in valid if name not in ("loss", CONSTANT_LOSS)))
    write_report(
        folder / "report.html",
        Report(
            title=f"Pretraining {folder.name}",
            command=record["command"],
            summary=summary,
            figures=figures,
            curves=curves,
            ledger=_ledger(folder),
            configuration=_configuration(record),
            environment=_environment(record, results),
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
    task = data.task
    scored = findings.scored
    shown = [each for each in scored if each.name in data.split.test_sets] or list(scored)
    summary = [*(sentence for each in shown for sentence in _sentences(each, task)), *remarks]
    if not data.split.test_sets:
        summary.append("There is no test set: these records helped to choose the weights, so the scores are hopeful.")
    write_report(
        folder / "report.html",
        Report(
            title=f"{'Distilling' if record['facts']['kind'] == 'distill' else 'Finetuning'} {folder.name}",
            command=record["command"],
            summary=(*summary, f"Task: {task.words}. Sets: {data.split.made_how}.", *data.warnings),
            figures=tuple(figure for each in scored for figure in _figures(each, task)),
            curves=_curves(folder, "loss", (MAIN_METRIC[type(task)],)),
            scatters=tuple(_scatters(data, outputs, shown)),
            confusions=tuple(_confusions(data, outputs, shown)),
            worst=tuple(_worst(data, outputs, shown)),
            classes=_classes(data),
            splits=_splits(data),
            ledger=_ledger(folder),
            configuration=_configuration(record),
            environment=_environment(record, results),
        ),
    )


def _sentences(scored: Scored, task: Task) -> list[str]:
    return [f"{line[0].upper()}{line[1:]}." for line in scored.words(task)]


def _figures(scored: Scored, task: Task) -> list[Figure]:
    figures = []
    for name in _SHOWN_METRICS[type(task)]:
        if name not in scored.metrics:
            continue
        low, high = scored.intervals.get(name, (float("nan"), float("nan")))
        baselines = tuple((other, metrics[name]) for other, metrics in scored.baselines.items())
        value = scored.metrics[name]
        figures.append(Figure(test_set=scored.name, metric=name, value=value, low=low, high=high, baselines=baselines))
    return figures


def _curves(folder: Path, loss: str, measures: Sequence[str]) -> tuple[Curve, ...]:
    events = read_metrics(folder)

    def series(name: str, event: str, key: str) -> Series:
        found = [(each["step"], each[key]) for each in events if each["event"] == event and each.get(key) is not None]
        steps, values = zip(*found, strict=True) if found else ((), ())
        return Series(name=name, x=np.array(steps, dtype=float), y=np.array(values, dtype=float))

    def curve(title: str, label: str, *lines: Series) -> Curve:
        kept = tuple(line for line in lines if len(line.x))
        return Curve(title=title, x_label="step (updates)", y_label=label, series=kept)

    curves = [curve("Loss", loss, series("training", "train", "loss"), series("validation", "valid", "loss"))]
    curves += [
        curve(
            f"{TITLES.get(name, _plain(name))}, validation records",
            _plain(name).lower(),
            series("validation", "valid", name),
        )
        for name in measures
    ]
    curves.append(curve("Learning rate", "learning rate", series("body", "train", "learning_rate")))
    return tuple(each for each in curves if each.series)


def _plain(name: str) -> str:
    """The name of a measure as words."""
    return name.replace("_", " ").capitalize()


def _scatters(data: LabeledData, outputs: NDArray[np.float32], scored: Sequence[Scored]) -> list[Scatter]:
    task = data.task
    if not isinstance(task, Regression):
        return []
    true, predicted = true_values(task, data), task.values(outputs)
    scatters = []
    for each in scored:
        records = data.split.indices(each.name)
        names = tuple(data.store.name(int(i)) for i in records)
        for column, label in enumerate(task.columns):
            scatters.append(
                Scatter(
                    true=true[records, column],
                    predicted=predicted[records, column],
                    label=label,
                    test_set=each.name,
                    identifiers=names,
                )
            )
    return scatters


def _confusions(data: LabeledData, outputs: NDArray[np.float32], scored: Sequence[Scored]) -> list[Confusion]:
    task = data.task
    if not isinstance(task, Classification | ResidueClassification) or task.outputs > _MAX_CONFUSION:
        return []
    confusions = []
    for each in scored:
        rows = rows_of(task, data, data.split.indices(each.name))
        true, predicted = data.targets[rows].astype(np.int64), outputs[rows].argmax(axis=1)
        known = true != IGNORED_CLASS
        counts = confusion_matrix(true[known], predicted[known], task.outputs)
        confusions.append(Confusion(labels=task.classes, counts=counts, test_set=each.name))
    return confusions


def _worst(data: LabeledData, outputs: NDArray[np.float32], scored: Sequence[Scored]) -> list[WorstRecord]:
    """The records with the largest loss; of per-residue tasks, those with the largest share of wrong residues."""
    task = data.task
    records = np.concatenate([np.zeros(0, np.int64), *(data.split.indices(each.name) for each in scored)])
    losses = np.array([_record_loss(task, data, outputs, int(i)) for i in records])
    found = []
    for place in np.argsort(-losses, kind="stable")[:_NUM_WORST]:
        index = int(records[place])
        logits = outputs[rows_of(task, data, np.array([index]))]
        predicted = task.rows(logits)[0]
        shown = predicted if isinstance(task, Regression) else predicted[:1]
        found.append(
            WorstRecord(
                identifier=data.store.name(index),
                true=_short(", ".join(data.labels[index])),
                predicted=_short(", ".join(f"{v:.4g}" if isinstance(v, float) else v for v in shown)),
                loss=float(losses[place]),
            )
        )
    return found


def _record_loss(task: Task, data: LabeledData, outputs: NDArray[np.float32], index: int) -> float:
    rows = rows_of(task, data, np.array([index]))
    if isinstance(task, ResidueClassification):
        true = data.targets[rows]
        known = true != IGNORED_CLASS
        return float((outputs[rows].argmax(axis=1) != true)[known].mean()) if known.any() else 0.0
    values = task.values(outputs[rows])[0]
    true = true_values(task, data)[index]
    if isinstance(task, Classification):
        return float(-np.log(max(values[int(true)], 1e-12)))
    if isinstance(task, MultiLabel):
        return float(-np.log(np.clip(np.where(true > 0.5, values, 1 - values), 1e-12, 1)).sum())
    return float(np.nansum((values - true) ** 2))


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _classes(data: LabeledData) -> Table | None:
    """Records (or residues) of each class in each set."""
    task = data.task
    if not isinstance(task, Classification | ResidueClassification):
        return None
    names = [TRAIN, *sorted(set(data.split.sets.tolist()) - {TRAIN})]
    counts = []
    for name in names:
        targets = data.targets[rows_of(task, data, data.split.indices(name))].astype(np.int64)
        counts.append(np.bincount(targets[targets != IGNORED_CLASS], minlength=task.outputs))
    rows: list[tuple[str | int | float, ...]] = [
        (class_name, *(int(count[index]) for count in counts)) for index, class_name in enumerate(task.classes)
    ]
    return Table(header=("class", *names), rows=tuple(rows))


def _splits(data: LabeledData) -> Table:
    rows = []
    for name in [TRAIN, *sorted(set(data.split.sets.tolist()) - {TRAIN})]:
        lengths = data.store.lengths[data.split.indices(name)]
        rows.append((name, len(lengths), int(lengths.sum()), int(np.median(lengths)), int(lengths.max())))
    return Table(header=("set", "records", "letters", "median length", "longest"), rows=tuple(rows))


def _ledger(folder: Path) -> Table:
    with (folder / "ledger.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    typed = tuple(tuple(int(cell) if cell.isdigit() else cell for cell in row) for row in rows)
    return Table(header=tuple(header), rows=typed)


def _configuration(record: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in record["facts"].items() if value is not None)


def _environment(record: dict[str, Any], results: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return (*record["environment"].items(), ("wall-clock time since the last start", f"{results['seconds']:,} seconds"))
