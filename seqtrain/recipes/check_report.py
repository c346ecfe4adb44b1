"""What was found out about a table: sections in words, and one row for every row of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from seqtrain.evaluation.leakage import NEAR_DUPLICATE, Leakage
from seqtrain.io.delimited import unique_names
from seqtrain.labeled import LabeledData
from seqtrain.recipes.check import Checked, names_of
from seqtrain.tasks import Classification, Regression

_SHOWN = 10
_ADDED = (
    "copies", "first_copy", "conflict", "near_duplicate", "near_identity", "near_conflict", "doubtful", "doubt",
    "expected", "annotators_disagree", "annotators_say", "nearest_training_row", "nearest_training_record",
    "nearest_training_label", "identity", "letters_apart",
)  # fmt: skip
Cell = str | int | float


def sections(checked: Checked) -> list[tuple[str, list[str]]]:
    """Headings, and the sentences under each."""
    found = [
        ("Equal sequences", _equal(checked)),
        ("Near duplicates", _near(checked)),
        ("Doubtful labels", _doubtful(checked)),
    ]
    if checked.agreement is not None:
        found.append(("Annotators", checked.agreement.words()))
    found.append(("Leakage", _leakage(checked.data, checked.leakage)))
    return found


def check_rows(checked: Checked) -> tuple[list[str], Iterator[list[Cell]]]:
    """Header and rows: one for each row of the table, also those that cannot be used, rows counted from 1."""
    data = checked.data
    header = unique_names(["row", "identifier", "usable", "set", *data.task.columns, *_ADDED])
    return header, _rows(checked)


def _equal(checked: Checked) -> list[str]:
    first, data = checked.first, checked.data
    counts = np.bincount(first, minlength=len(first))
    groups, members = int((counts > 1).sum()), int(counts[counts > 1].sum())
    if not groups:
        return ["every sequence is there once"]
    lines = [f"{members:,} records have a sequence that is there more than once, {groups:,} sequences in all"]
    clashing = np.unique(first[checked.conflicting])
    named = f": {names_of(data, clashing.tolist())}" if len(clashing) else ""
    if checked.spread is None:
        lines.append(f"{_of(len(clashing), 'of these sequences')} different labels{named}")
        return lines
    spread = checked.spread
    lines.append(f"{_of(len(clashing), 'of these sequences')} numbers a standard deviation or more apart{named}")
    if not np.isnan(spread.within):
        lines.append(
            f"numbers of equal sequences have a standard deviation of {spread.within:.3g}, all have "
            f"{spread.overall:.3g}: if the others are as noisy, no model of the sequence gets beyond R² "
            f"{spread.ceiling:.2f}"
        )
    return lines


def _near(checked: Checked) -> list[str]:
    if checked.variants:
        return ["all are variants of one sequence, so every pair is a near duplicate"]
    least = f"{100 * NEAR_DUPLICATE:.0f} % identity"
    pairs = len(checked.near)
    if not pairs:
        return [f"no two different sequences have {least} or more"]
    involved = len(np.unique(np.concatenate([checked.near.first, checked.near.second])))
    lines = [f"{_of(pairs, 'pair' if pairs == 1 else 'pairs')} {least} or more, among {involved:,} different sequences"]
    clashing = np.unique(checked.first[checked.near_conflicting])
    named = f": {names_of(checked.data, clashing.tolist())}" if len(clashing) else ""
    if checked.data.task.per_residue:
        return lines
    what = "numbers two standard deviations or more apart" if checked.spread else "another label"
    return [*lines, f"{_of(len(clashing), 'of these')} a near duplicate with {what}{named}"]


def _of(count: int, whom: str) -> str:
    return f"{count:,} {whom} {'has' if count == 1 else 'have'}"


def _doubtful(checked: Checked) -> list[str]:
    judged, data = checked.judged, checked.data
    if judged is None:
        one = isinstance(data.task, Classification) or (isinstance(data.task, Regression) and data.task.outputs == 1)
        return ["not looked for" + ("" if one else ": this is done for one class or one number per record")]
    trial, order = judged.trial, judged.suspicion.order()
    skill = "accuracy" if isinstance(data.task, Classification) else "rank correlation"
    lines = [f"a simple model reads the labels of records that it has not seen with {skill} {judged.skill:.2f}"]
    if not np.isfinite(trial.least_score):
        return [
            *lines,
            f"too little to judge labels by: of {trial.planted:,} made wrong on purpose it finds too few; none named",
        ]
    lines.append(
        f"in a trial with {trial.planted:,} labels made wrong on purpose it named {trial.found:.0%} of them, and "
        f"{trial.right:.0%} of what it named was such a label"
    )
    lines.append(
        f"{len(order):,} of {len(data.store):,} labels {'is' if len(order) == 1 else 'are'} doubtful"
        + (", the most doubtful first:" if len(order) else "")
    )
    for index in order[:_SHOWN].tolist():
        expected = _expected(data, judged.suspicion.predicted[index])
        lines.append(f"  {names_of(data, [index])}: {data.labels[index][0]!r}, expected {expected}")
    return lines


def _leakage(data: LabeledData, leakage: Leakage | None) -> list[str]:
    if leakage is None:
        return ["not looked for, or there are no held-out records to compare with training records"]
    lines = [f"sets: {data.split.made_how}", *leakage.words()]
    for name in leakage.held_out:
        total = len(leakage.of_set(name))
        bands = ", ".join(
            f"{words} {len(places):,} ({len(places) / total:.0%})" for words, places in leakage.bands(name)
        )
        if bands:
            lines.append(f"{name}, nearest training record: {bands}")
    near = (leakage.identity >= NEAR_DUPLICATE).mean() if len(leakage.records) else 0.0
    if near >= 0.1 and leakage.letters is None:
        lines.append("scores on such sets say little about new families; see  seqtrain split --by homology")
    return lines


def _expected(data: LabeledData, predicted: float) -> str:
    if np.isnan(predicted):
        return ""
    return data.task.classes[int(predicted)] if isinstance(data.task, Classification) else f"{predicted:.4g}"


def _rows(checked: Checked) -> Iterator[list[Cell]]:
    data, table = checked.data, checked.data.table
    place = {row: index for index, row in enumerate(data.rows.tolist())}
    copies = np.bincount(checked.first, minlength=len(checked.first))[checked.first]
    partner, identity = _partners(checked)
    names = table.columns[checked.columns.identifier] if checked.columns.identifier is not None else None
    columns = [_column_of_judged(checked), _column_of_agreement(checked), _column_of_leakage(checked)]
    for row in range(len(table)):
        index = place.get(row)
        if index is None:
            labels = [table.columns[name][row].strip() for name in data.task.columns]
            yield [row + 1, names[row] if names else f"row-{row + 1}", 0, "", *labels, *[""] * len(_ADDED)]
            continue
        yield [
            row + 1,
            data.store.name(index),
            1,
            str(data.split.sets[index]),
            *data.labels[index],
            int(copies[index]),
            int(data.rows[checked.first[index]]) + 1,
            int(checked.conflicting[index]),
            int(data.rows[partner[index]]) + 1 if partner[index] >= 0 else "",
            _number(identity[index]),
            int(checked.near_conflicting[index]),
            *(cell for column in columns for cell in column[index]),
        ]


def _partners(checked: Checked) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(N,) the near duplicate of highest identity of each record, or -1, and (N,) that identity."""
    near, count = checked.near, len(checked.first)
    one, other = np.concatenate([near.first, near.second]), np.concatenate([near.second, near.first])
    both = np.concatenate([near.identity, near.identity])
    partner, identity = np.full(count, -1, dtype=np.int64), np.full(count, np.nan)
    order = np.lexsort((-other, both))  # the last one written stays: highest identity, then first record
    partner[one[order]], identity[one[order]] = other[order], both[order]
    return partner[checked.first], identity[checked.first]


def _column_of_judged(checked: Checked) -> list[list[Cell]]:
    judged, data = checked.judged, checked.data
    if judged is None:
        return [["", "", ""]] * len(data.store)
    found = judged.suspicion
    return [
        [int(found.suspicious[i]), _number(found.score[i]), _expected(data, found.predicted[i])]
        for i in range(len(data.store))
    ]


def _column_of_agreement(checked: Checked) -> list[list[Cell]]:
    found = checked.agreement
    if found is None:
        return [["", ""]] * len(checked.data.store)
    return [[int(differ), majority] for differ, majority in zip(found.disagree, found.majority, strict=True)]


def _column_of_leakage(checked: Checked) -> list[list[Cell]]:
    data, found = checked.data, checked.leakage
    cells: list[list[Cell]] = [["", "", "", "", ""] for _ in range(len(data.store))]
    if found is None:
        return cells
    for place, index in enumerate(found.records.tolist()):
        nearest = int(found.nearest[place])
        if nearest < 0:
            continue
        apart = "" if found.letters is None or found.letters[place] < 0 else int(found.letters[place])
        row, name = int(data.rows[nearest]) + 1, data.store.name(nearest)
        cells[index] = [row, name, "; ".join(data.labels[nearest]), _number(found.identity[place]), apart]
    return cells


def _number(value: float) -> Cell:
    return "" if np.isnan(value) else round(float(value), 4)
