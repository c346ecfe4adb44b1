"""Which name was probably meant."""

from __future__ import annotations

import pytest

from seqtrain.errors import did_you_mean, nearest_name

METRICS = ("accuracy", "balanced_accuracy", "mcc", "macro_f1", "macro_roc_auc", "roc_auc")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("acc", "accuracy"),  # not mcc, of which only one letter is another
        ("acuracy", "accuracy"),
        ("macro", "macro_f1"),  # two begin like this, and it is more like the shorter one
        ("macro_f", "macro_f1"),
        ("mc", "mcc"),
        ("spearman", None),
        ("", None),
    ],
)
def test_the_beginning_counts_more_than_what_looks_alike(given: str, meant: str | None) -> None:
    assert nearest_name(given, METRICS) == meant


def test_what_is_offered() -> None:
    assert did_you_mean("acc", METRICS) == "did you mean 'accuracy'?"
    assert did_you_mean("xyz", ("a", "b")) == "choose from a, b"
    assert did_you_mean("xyz", ("a", "b"), "it takes a and b") == "it takes a and b"
