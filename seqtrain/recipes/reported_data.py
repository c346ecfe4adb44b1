"""What a report shows of the records: sets and leakage between them, and a map of embeddings."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from seqtrain.evaluation.embedding_map import EmbeddingMap
from seqtrain.evaluation.leakage import Leakage
from seqtrain.io.splits import TRAIN, VALID
from seqtrain.labeled import LabeledData
from seqtrain.recipes.reported_predictions import Predicted, record_losses
from seqtrain.report.axes import number
from seqtrain.report.canvas import NUM_COLOURS, NUM_STEPS
from seqtrain.report.records import Bars, Points, Remark, Section, Table
from seqtrain.tasks import Classification, MultiLabel, Regression, ResidueClassification

NO_TEST_SET = (
    "There is no test set: the records that are scored helped to choose the weights, so the scores are hopeful."
)
_BINS = 20
_MAX_NAME = 40


def split_section(data: LabeledData, leakage: Leakage | None) -> Section:
    """How the sets were made, how large they are, and how near held-out records come to those trained on."""
    remarks: tuple[Remark, ...] = ()
    if not data.split.test_sets:
        advice = "Say which records are for testing with --split-column, or make sets with  seqtrain split"
        remarks = (Remark(severity="warning", words=NO_TEST_SET, advice=advice),)
    sentences = [f"Sets: {data.split.made_how}."]
    charts: tuple[Bars, ...] = ()
    tables = [_sets(data)]
    if leakage is None:
        sentences.append("How like the held-out records are to those trained on was not looked at.")
    else:
        sentences += [f"{words[0].upper()}{words[1:]}." for words in leakage.words()]
        charts = (_nearness(leakage),)
        header, rows = leakage.table()
        tables.append(Table(header=header, rows=tuple(rows), title="By nearness to the training records"))
    return Section(
        title="Split and leakage",
        sentences=tuple(sentences),
        remarks=remarks,
        charts=charts,
        tables=tuple(tables),
        early=True,
    )


def _sets(data: LabeledData) -> Table:
    rows = []
    for name in [TRAIN, *sorted(set(data.split.sets.tolist()) - {TRAIN})]:
        lengths = data.store.lengths[data.split.indices(name)]
        use = "learnt from" if name == TRAIN else "chose the weights" if name == VALID else "scored only"
        rows.append((name, use, len(lengths), int(lengths.sum()), int(np.median(lengths)), int(lengths.max())))
    return Table(header=("set", "use", "records", "letters", "median length", "longest"), rows=tuple(rows))


def _nearness(leakage: Leakage) -> Bars:
    """Histogram of the identity to the nearest training record, or among variants of the letters that differ."""
    names = tuple(dict.fromkeys(leakage.sets.tolist()))
    if leakage.letters is not None:
        most = max(int(leakage.letters.max(initial=0)), 1)
        edges = np.arange(0, most + 2, max(1, -(-(most + 1) // _BINS))) - 0.5
        edges = np.append(edges, most + 0.5) if edges[-1] < most else edges
        values, title, label = leakage.letters.astype(np.float64), "Letters that differ from", "letters"
    else:
        edges = np.linspace(0, 1, _BINS + 1)
        # What has none of the least identity is counted below it; 1 itself belongs to the last bin.
        values, title, label = np.nan_to_num(leakage.identity, nan=0.0), "Identity to", "identity (0: none found)"
    counts = np.stack([np.histogram(values[leakage.sets == name], edges)[0] for name in names])
    return Bars(
        title=f"{title} the nearest training record",
        x_label=label,
        y_label="held-out records",
        edges=edges,
        counts=counts,
        names=names,
    )


def map_section(predicted: Predicted, found: EmbeddingMap | None) -> Section | None:
    """Where the held-out records lie among one another in what the network makes of them."""
    if found is None:
        return None
    sets = predicted.data.split.sets[found.records]
    shapes = tuple(dict.fromkeys(sets.tolist()))
    names = tuple(_named(predicted, int(index)) for index in found.records)
    first, second = (f"{100 * share:.0f} %" for share in found.explained)
    components = (f"first component ({first} of the variance)", f"second component ({second})")
    is_pca = found.method == "PCA"
    labels = components if is_pca else ("t-SNE, first axis", "t-SNE, second axis")
    charts = []
    for title, colours, colour, ordered in _colourings(predicted, found.records):
        charts.append(
            Points(
                title=title,
                x_label=labels[0],
                y_label=labels[1],
                x=found.places[:, 0],
                y=found.places[:, 1],
                names=names,
                colours=colours,
                colour=colour,
                ordered=ordered,
                shapes=shapes,
                shape=np.array([shapes.index(name) for name in sets]),
                has_axes=is_pca,
            )
        )
    held_out = int((predicted.data.split.sets != TRAIN).sum())
    which = "Held-out records" if held_out == len(found.records) else f"{len(found.records):,} held-out records"
    sentence = (
        f"{which} by the mean of the network's last hidden states over their residues, laid out by {found.method}."
    )
    note = (
        f"The first two principal components hold {first} and {second} of the variance."
        if is_pca
        else "t-SNE keeps neighbours together; distances between groups, and axes, mean little. It started from the "
        f"first two principal components, which hold {first} and {second} of the variance."
    )
    return Section(title="Map of embeddings", sentences=(sentence,), charts=tuple(charts), note=note)


Colouring = tuple[str, tuple[str, ...], NDArray[np.int64], bool]


def _colourings(predicted: Predicted, records: NDArray[np.int64]) -> list[Colouring]:
    """(title, what colours mean, (M,) colours, whether they are steps) of the maps: by label, and by error."""
    task = predicted.task
    losses = record_losses(predicted, records)
    if isinstance(task, Regression):
        true = predicted.true[records].astype(np.float64)
        values = [_steps(f"By {name}", true[:, k]) for k, name in enumerate(task.columns[:2])]
        errors = np.sqrt(losses)
        return [*filter(None, [*values, _steps("By error (standard deviations)", errors)])]
    if isinstance(task, Classification):
        classes = predicted.true[records].astype(np.int64)
        wrong = task.decide(predicted.values[records]) != classes
        return [_by_class(task.classes, classes), ("By prediction", ("right", "wrong"), wrong.astype(np.int64), False)]
    name = "By share of wrong residues" if isinstance(task, ResidueClassification) else "By loss (nats, all labels)"
    found = [] if not isinstance(task, MultiLabel) else [_by_label(predicted, records)]
    steps = _steps(name, losses)
    if not found and steps is None:
        return [("All alike", ("no error",), np.zeros(len(records), np.int64), False)]
    return [*filter(None, [*found, steps])]


def _by_class(classes: tuple[str, ...], true: NDArray[np.int64]) -> Colouring:
    """The commonest classes, and the others in one colour."""
    often = np.argsort(-np.bincount(true, minlength=len(classes)), kind="stable")
    shown = np.sort(often[:NUM_COLOURS] if len(classes) <= NUM_COLOURS else often[: NUM_COLOURS - 1])
    colour = np.full(len(classes), len(shown))
    colour[shown] = np.arange(len(shown))
    names = tuple(classes[k] for k in shown)
    return "By class", (*names, f"{len(classes) - len(shown)} others"), colour[true], False


def _by_label(predicted: Predicted, records: NDArray[np.int64]) -> Colouring:
    """The label that fewest others have, of those that a record has and that are shown; so that rare ones are seen."""
    task = predicted.task
    assert isinstance(task, MultiLabel)
    has = predicted.true[records].astype(np.float64) > 0.5
    often = np.argsort(-has.sum(axis=0), kind="stable")[: NUM_COLOURS - 1]
    colour = np.full(len(records), len(often))
    for place, label in enumerate(often):
        colour[has[:, label]] = place
    return "By rarest common label", (*(task.classes[k] for k in often), "none of these"), colour, False


def _steps(title: str, values: NDArray[np.float64]) -> Colouring | None:
    """Fifths of the values, from low to high; None where they are all the same. What is not known is drawn lowest."""
    known = values[np.isfinite(values)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, NUM_STEPS + 1))) if len(known) else known
    if len(edges) < 2:
        return None
    colour = np.clip(np.searchsorted(edges, np.nan_to_num(values, nan=edges[0]), side="right") - 1, 0, len(edges) - 2)
    words = tuple(f"{number(float(a))} to {number(float(b))}" for a, b in pairwise(edges))
    return title, words, colour, True


def _named(predicted: Predicted, index: int) -> str:
    """A record with its label and what was predicted for it, in one line; of residues the name alone."""
    data, task = predicted.data, predicted.task
    name = data.store.name(index)
    if isinstance(task, ResidueClassification):
        return name
    said = task.rows(predicted.outputs[[index]])[0]
    shown = said if isinstance(task, Regression) else said[:1]
    words = ", ".join(f"{value:.4g}" if isinstance(value, float) else value for value in shown)
    return f"{name}: true {', '.join(data.labels[index])[:_MAX_NAME]}, predicted {words[:_MAX_NAME]}"
