"""Agreement of annotators, against published figures and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from seqtrain.evaluation.agreement import agreement_of, disagreeing, krippendorff_alpha

N = np.nan
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
        [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
    ]
).T
"""Example C of Krippendorff (2011), Computing Krippendorff's alpha-reliability, where alpha is 0.743 and 0.849."""


def test_alpha_is_that_of_the_paper() -> None:
    assert round(krippendorff_alpha(KRIPPENDORFF, level="nominal"), 3) == 0.743
    assert round(krippendorff_alpha(KRIPPENDORFF, level="interval"), 3) == 0.849


def test_alpha_is_fleiss_kappa_but_for_the_sample() -> None:
    # 1 - alpha = (1 - kappa) (n - 1) / n, n ratings in all, where all records have as many.
    ratings = np.random.default_rng(0).integers(0, 3, size=(40, 4)).astype(float)
    ratings[:25] = ratings[:25, :1]
    table = np.stack([(ratings == value).sum(axis=1) for value in range(3)], axis=1)
    observed = ((table**2).sum(axis=1) - 4).mean() / 12
    expected = ((table.sum(axis=0) / 160) ** 2).sum()
    kappa = (observed - expected) / (1 - expected)
    assert 1 - krippendorff_alpha(ratings, level="nominal") == pytest.approx((1 - kappa) * 159 / 160)


@pytest.mark.parametrize(
    "ratings", [np.full((4, 2), N), np.array([[1, N], [N, 2]]), np.ones((3, 2))], ids=["none", "alone", "all alike"]
)
def test_alpha_is_not_defined_without_two_values(ratings: np.ndarray) -> None:
    assert np.isnan(krippendorff_alpha(ratings, level="nominal"))


def test_missing_labels_disagree_with_nothing() -> None:
    assert disagreeing(np.array([[1.0, 3.0, N], [2.0, N, N], [N, N, N], [2.0, 2.0, 2.0]])).tolist() == [2, 0, 0, 0]


def test_majorities_and_the_odd_one_out() -> None:
    one = ["a", "b", "a", "b", "a", ""]
    found = agreement_of(
        ["one", "two", "three"], [one, ["a", "b", "a", "b", "b", "NA"], ["b", "a", "b", "b", "", "a"]], level="nominal"
    )
    assert found.majority == ("a", "b", "a", "b", "", "a")
    assert found.disagree.tolist() == [True, True, True, False, True, False]
    assert found.rated == 5
    assert found.with_others[0] == pytest.approx((4 / 5 + 1 / 4) / 2)
    assert "'three' agrees least" in found.words()[1]


def test_a_class_may_be_called_none() -> None:
    cells = [["none", "x", "none", "NA"], ["none", "none", "x", "x"]]
    found = agreement_of(["one", "two"], cells, level="nominal", classes=("none", "x"))
    renamed = [[{"none": "no"}.get(cell, cell) for cell in column] for column in cells]
    assert found.rated == 3 and found.alpha == agreement_of(["one", "two"], renamed, level="nominal").alpha


def test_numbers_disagree_by_a_standard_deviation() -> None:
    found = agreement_of(["x", "y"], [["0", "1", "2", "3"], ["0.1", "1.1", "2.1", "9"]], level="interval")
    assert found.disagree.tolist() == [False, False, False, True]
    assert found.majority[3] == "6"
    with pytest.raises(ValueError, match="high"):
        agreement_of(["x", "y"], [["0", "1"], ["high", "1"]], level="interval")
