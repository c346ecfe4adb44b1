"""Obvious columns are found, ambiguous ones are asked for, and labels are taken for what they look like."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seqtrain.errors import InputError
from seqtrain.io.columns import Columns, find_columns, infer_task_kind
from seqtrain.io.delimited import Table
from tests.corpora import proteins

SEQUENCES = proteins(np.random.default_rng(1).integers(20, 90, 60).tolist())
N = len(SEQUENCES)
RNG = np.random.default_rng(2)
NUMBERS = [f"{value:.4f}" for value in RNG.normal(size=N)]
CLASSES = RNG.choice(["membrane", "cytosol", "nucleus"], N).tolist()
SETS = RNG.choice(["train", "test", "val"], N).tolist()


def table(**columns: list[str]) -> Table:
    return Table("t.csv", columns, list(range(2, N + 2)))


def refusal(of: Table, **named: Any) -> str:
    with pytest.raises(InputError) as caught:
        find_columns(of, **named)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("t.csv: ")
    return str(caught.value)


def kind(labels: list[str], sequences: list[str] = SEQUENCES) -> str:
    rows = Table("t.csv", {"sequence": sequences, "y": labels}, list(range(2, len(labels) + 2)))
    return infer_task_kind(rows, Columns(sequence="sequence", targets=("y",)))[0]


@pytest.mark.parametrize("name", ["sequence", "Sequence", "SEQ", "protein", "aa_seq", "mutated_sequence", " seq "])
def test_usual_names_of_sequences(name: str) -> None:
    assert find_columns(table(**{"fitness": NUMBERS, name: SEQUENCES})).sequence == name


def test_sequences_are_found_by_their_looks() -> None:
    columns = find_columns(table(entry=[f"P{i:05}" for i in range(N)], construct=SEQUENCES, activity=NUMBERS))
    assert columns == Columns(sequence="construct", targets=("activity",), identifier="entry")


def test_the_parts_of_a_full_table() -> None:
    masks = ["1" * len(text) for text in SEQUENCES]
    structures = ["H" * len(text) for text in SEQUENCES]
    numbers = [str(i) for i in range(N)]
    columns = find_columns(table(id=numbers, sequence=SEQUENCES, target=structures, set=SETS, mask=masks))
    assert columns == Columns(sequence="sequence", targets=("target",), identifier="id", split="set", mask="mask")
    assert columns.words() == (
        "sequences from column 'sequence'; labels from column 'target'; names from column 'id'; "
        "sets from column 'set'; mask from column 'mask'"
    )


def test_named_columns_win() -> None:
    of = table(sequence=SEQUENCES, other=SEQUENCES, a=NUMBERS, b=NUMBERS, fold=SETS, w=NUMBERS)
    columns = find_columns(of, sequence="other", targets=["b", "a"], split="fold", weight="w")
    assert columns == Columns(sequence="other", targets=("b", "a"), split="fold", weight="w")
    assert find_columns(of, want_targets=False, sequence="sequence").targets == ()


def test_a_usual_name_of_the_label_wins_over_other_columns() -> None:
    assert find_columns(table(sequence=SEQUENCES, note=NUMBERS, label=CLASSES)).targets == ("label",)
    assert find_columns(table(sequence=SEQUENCES, melting_point=NUMBERS)).targets == ("melting_point",)


def test_what_is_not_obvious_is_asked_for() -> None:
    message = refusal(table(sequence=SEQUENCES, a=NUMBERS, b=NUMBERS))
    assert "a, b could be the label; choose one with --target" in message
    assert "label, score could be the label" in refusal(table(sequence=SEQUENCES, label=CLASSES, score=NUMBERS))
    assert "heavy, light could hold the sequences; choose: --sequence-column" in refusal(
        table(heavy=SEQUENCES, light=SEQUENCES[::-1], y=NUMBERS)
    )


def test_what_is_missing_is_said() -> None:
    assert "no column looks like sequences (columns: x, y); name it: --sequence-column" in refusal(
        table(x=NUMBERS, y=NUMBERS)
    )
    assert "no column is left to be the label (columns: sequence)" in refusal(table(sequence=SEQUENCES))
    message = refusal(table(sequence=SEQUENCES, fitness=NUMBERS), weight="fitnes")
    assert "no column 'fitnes'" in message and "did you mean 'fitness'?" in message


def test_a_column_plays_one_part() -> None:
    message = refusal(table(sequence=SEQUENCES, y=NUMBERS), weight="y", mask="y")
    assert "column 'y' was named for two parts" in message


def test_words_are_no_sequences() -> None:
    message = refusal(table(name=["membrane protein of the cell"] * N, y=CLASSES))
    assert "no column looks like sequences" in message


def test_a_split_column_must_say_train() -> None:
    assert find_columns(table(sequence=SEQUENCES, y=NUMBERS, split=SETS)).split == "split"
    assert find_columns(table(sequence=SEQUENCES, y=NUMBERS, stage=["larva"] * N)).split is None


def test_a_mask_is_ones_and_zeros_for_each_residue() -> None:
    good = ["01" * (len(text) // 2) + "1" * (len(text) % 2) for text in SEQUENCES]
    assert find_columns(table(sequence=SEQUENCES, y=CLASSES, resolved=good)).mask == "resolved"
    assert find_columns(table(sequence=SEQUENCES, y=CLASSES, mask=[mask[1:] for mask in good])).mask is None
    assert find_columns(table(sequence=SEQUENCES, y=CLASSES, mask=["2" + mask[1:] for mask in good])).mask is None
    # Single rows that do not fit are refused by their row, and not left aside with the whole column.
    odd = ["", f" {good[1]} ", *good[2:]]
    stops = [SEQUENCES[0], SEQUENCES[1] + "*", *SEQUENCES[2:]]
    assert find_columns(table(sequence=stops, y=CLASSES, mask=odd)).mask == "mask"


def test_lists_of_labels_for_residues_are_not_taken_for_labels_of_the_whole() -> None:
    lists = [";".join("HEC"[i % 3] for i in range(len(text))) for text in SEQUENCES]
    with pytest.raises(InputError, match="has lists with an entry for each residue"):
        infer_task_kind(table(sequence=SEQUENCES, y=lists), Columns(sequence="sequence", targets=("y",)))
    # Of tripeptides with a label each, or two, a third of the letters is no codon.
    assert kind(["a;b", *(["a", "b"] * 30)][:N], [text[:3] for text in SEQUENCES]) == "multilabel"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (NUMBERS, "regression"),
        ([*NUMBERS[:-3], "", "NA", "nan"], "regression"),
        ([f"{i}e-3" for i in range(N)], "regression"),
        ([str(i % 2) for i in range(N)], "classification"),
        ([f"{i % 3}_{i % 2}" for i in range(N)], "classification"),
        ([["0", "1", ""][i % 3] for i in range(N)], "classification"),
        ([["-1", "1"][i % 2] for i in range(N)], "classification"),
        ([str(i % 20) for i in range(N)], "classification"),
        (CLASSES, "classification"),
        ([["True", "False"][i % 2] for i in range(N)], "classification"),
        ([["a", "a;b", "b; c", ""][i % 4] for i in range(N)], "multilabel"),
        ([["GO:1|GO:2", "GO:3"][i % 2] for i in range(N)], "multilabel"),
        (["HEC"[i % 3] * len(text) for i, text in enumerate(SEQUENCES)], "residue"),
        (["01"[i % 2] * len(text) for i, text in enumerate(SEQUENCES)], "residue"),
    ],
)
def test_labels_are_taken_for_what_they_look_like(labels: list[str], expected: str) -> None:
    assert kind(labels) == expected


def test_several_columns_are_regression() -> None:
    columns = Columns(sequence="sequence", targets=("a", "b"))
    assert infer_task_kind(table(sequence=SEQUENCES, a=NUMBERS, b=CLASSES), columns)[0] == "regression"


def test_one_letter_labels_of_one_letter_peptides_are_classes() -> None:
    assert kind(["H", "E"] * 30, ["A", "C"] * 30) == "classification"


def test_more_than_twenty_whole_numbers_are_asked_about() -> None:
    with pytest.raises(InputError, match=r"'y' has 21 different whole numbers; say --task regression .*--task class"):
        kind([str(i % 21) for i in range(N)])


def test_decimal_commas_are_asked_about() -> None:
    with pytest.raises(InputError, match=r"^t\.csv: column 'y' has decimal commas, such as '0,0'; write points"):
        kind([f"{i},{i}" for i in range(N)])


def test_free_text_is_asked_about() -> None:
    with pytest.raises(InputError, match=r"column 'y' has 60 different texts in 60 rows; choose another --target"):
        kind([f"protein number {i}" for i in range(N)])


def test_an_empty_label_column_is_refused() -> None:
    with pytest.raises(InputError, match=r"^t\.csv: column 'y' is empty; choose another --target$"):
        kind([""] * N)


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (["0.1234567", "0.7654321", "0.3333333"], "regression"),
        (["1.0", "0.0", "1.0"], "classification"),
        (["1", "0", "NA"], "classification"),
        (["0.5", "nan", "2.5"], "regression"),
    ],
)
def test_numbers_are_told_from_labels_per_residue_and_from_gaps(labels: list[str], kind: str) -> None:
    table = Table("t.csv", {"sequence": ["ACDEFGHIK", "LMNPQRSTV", "WYACDEFGH"], "target": labels}, [2, 3, 4])
    assert infer_task_kind(table, find_columns(table))[0] == kind


def test_digits_as_many_as_residues_are_asked_about() -> None:
    table = Table("t.csv", {"sequence": ["ACDEF", "GHIKL"], "target": ["12345", "54321"]}, [2, 3])
    with pytest.raises(InputError, match="--task residue"):
        infer_task_kind(table, find_columns(table))


def test_digits_per_residue_of_sequences_of_many_lengths() -> None:
    table = Table("t.csv", {"sequence": ["ACDEF", "GHI", "KLMNPQ"], "target": ["01201", "002", "111000"]}, [2, 3, 4])
    assert infer_task_kind(table, find_columns(table))[0] == "residue"


def test_columns_of_synthetic_rows_and_pseudo_labels_are_no_labels() -> None:
    sources = ["given"] * (N - 5) + ["synthetic"] * 5
    made = {"parent": [""] * N, "identity": NUMBERS, "confidence": NUMBERS, "weight": NUMBERS}
    columns = find_columns(table(sequence=SEQUENCES, fold=CLASSES, source=sources, **made))
    assert columns.targets == ("fold",)
    # The same names in a table that says nothing of how its rows were made.
    assert "source, parent" in refusal(table(sequence=SEQUENCES, fold=CLASSES, source=CLASSES, **made))
