"""Every way of resampling against imbalanced-learn called by hand, or against the formula of its paper."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from imblearn.combine import SMOTETomek
from imblearn.over_sampling import SMOTE, BorderlineSMOTE
from imblearn.under_sampling import ClusterCentroids as CentroidSampler
from imblearn.under_sampling import TomekLinks as LinkSampler
from sklearn.metrics import pairwise_distances

from seqtrain.errors import InputError
from seqtrain.resampling import (
    BorderlineSmote,
    ClusterCentroids,
    Extrapolation,
    Interpolation,
    Points,
    Resampling,
    Smote,
    SmoteTomek,
    TomekLinks,
    check_resampling,
)
from seqtrain.resampling.points import sampler_state
from seqtrain.words import names_of, read_words

RNG = np.random.default_rng(7)
COUNTS = np.array([40, 0, 12, 7])
CLASSES = RNG.permutation(np.repeat(np.arange(4), COUNTS))
# Classes overlap, so that there are links between them and points in danger.
FEATURES = (RNG.normal(size=(len(CLASSES), 3)) + 0.2 * CLASSES[:, None]).astype(np.float32)
EVERYTHING = np.arange(len(CLASSES))
SEED = 3


def together(points: Points) -> tuple[np.ndarray, np.ndarray]:
    """All points after resampling, and their classes."""
    return (
        np.concatenate([FEATURES[points.kept], points.made]),
        np.concatenate([CLASSES[points.kept], points.made_classes]),
    )


def same_rows(found: tuple[np.ndarray, np.ndarray], expected: tuple[np.ndarray, np.ndarray]) -> None:
    """Assert that the same points of the same classes are there, in whatever order."""
    tables = [np.column_stack([classes, rows.astype(np.float32)]) for rows, classes in (found, expected)]
    one, other = (table[np.lexsort(table.T)] for table in tables)
    np.testing.assert_array_equal(one, other)


def test_smote_is_that_of_imbalanced_learn() -> None:
    method = Smote(neighbours=4)
    points = method(FEATURES, CLASSES, SEED)
    sampler = SMOTE(k_neighbors=4, random_state=sampler_state(SEED, method))
    same_rows(together(points), sampler.fit_resample(FEATURES.astype(np.float64), CLASSES))
    assert points.counts(CLASSES, 4)["after"].tolist() == [40, 0, 40, 40]
    assert points.counts(CLASSES, 4)["made"].tolist() == [0, 0, 28, 33]
    # New points lie between two of their class.
    for row, each in zip(points.made[:5].astype(float), points.made_classes[:5], strict=True):
        ends = FEATURES[each == CLASSES].astype(float)
        detours = [
            np.linalg.norm(row - a) + np.linalg.norm(row - b) - np.linalg.norm(a - b) for a in ends for b in ends
        ]
        assert min(detours) == pytest.approx(0, abs=1e-5)


def test_borderline_smote_is_that_of_imbalanced_learn() -> None:
    method = BorderlineSmote(neighbours=3, around=6)
    sampler = BorderlineSMOTE(k_neighbors=3, m_neighbors=6, random_state=sampler_state(SEED, method))
    expected = sampler.fit_resample(FEATURES.astype(np.float64), CLASSES)
    assert len(expected[1]) > len(CLASSES)
    same_rows(together(method(FEATURES, CLASSES, SEED)), expected)


@pytest.mark.parametrize("remove", ["not-minority", "majority", "all"])
def test_tomek_links_are_those_of_imbalanced_learn_and_of_the_definition(remove: str) -> None:
    points = TomekLinks(remove=remove)(FEATURES, CLASSES, SEED)  # type: ignore[arg-type]
    sampler = LinkSampler(sampling_strategy=remove.replace("-", " "))
    same_rows(together(points), sampler.fit_resample(FEATURES.astype(np.float64), CLASSES))
    distances = pairwise_distances(FEATURES.astype(np.float64)) + np.diag(np.full(len(FEATURES), np.inf))
    nearest = distances.argmin(axis=1)
    linked = (nearest[nearest] == EVERYTHING) & (CLASSES[nearest] != CLASSES)
    touched = {"not-minority": CLASSES != 3, "majority": CLASSES == 0, "all": np.ones(len(CLASSES), bool)}[remove]
    assert linked.sum() >= 4
    np.testing.assert_array_equal(points.kept, np.flatnonzero(~(linked & touched)))


def test_a_class_never_loses_its_last_records() -> None:
    features = np.array([[0.0], [1.0], [5.0], [5.1], [5.3]], np.float32)
    points = TomekLinks(remove="all")(features, np.array([0, 1, 1, 1, 1]), SEED)
    assert points.kept.tolist() == [0, 2, 3, 4]


def test_smote_tomek_is_that_of_imbalanced_learn() -> None:
    smote = SMOTE(k_neighbors=5, random_state=sampler_state(SEED, Smote()))
    expected = SMOTETomek(smote=smote).fit_resample(FEATURES.astype(np.float64), CLASSES)
    points = SmoteTomek()(FEATURES, CLASSES, SEED)
    assert len(points.made) < 61
    # imbalanced-learn cuts the links in float64, where the new points are not yet rounded.
    same_rows(together(points), expected)


@pytest.mark.parametrize(("ratio", "after"), [(1.0, [7, 0, 7, 7]), (1.5, [10, 0, 10, 7]), (4.0, [28, 0, 12, 7])])
def test_cluster_centroids_are_records_chosen_as_by_imbalanced_learn(ratio: float, after: list[int]) -> None:
    method = ClusterCentroids(ratio=ratio)
    points = method(FEATURES, CLASSES, SEED)
    assert points.counts(CLASSES, 4)["after"].tolist() == after
    goals = {int(c): after[c] for c in (0, 2) if after[c] < COUNTS[c]}
    sampler = CentroidSampler(sampling_strategy=goals, voting="hard", random_state=sampler_state(SEED, method))
    same_rows(together(points), sampler.fit_resample(FEATURES.astype(np.float64), CLASSES))


def test_clusters_of_one_record_and_of_equal_records() -> None:
    classes = np.array([0, 0, 0, 0, 1])
    alike = np.zeros((5, 3), np.float32)
    alike[2:] = 1
    points = ClusterCentroids()(alike, classes, SEED)
    assert points.counts(classes, 2)["after"].tolist() == [1, 1]
    assert ClusterCentroids(ratio=9)(alike, classes, SEED).kept.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("method", "by"), [(Interpolation(neighbours=3, strength=0.25), 0.25), (Extrapolation(neighbours=3), -0.5)]
)
def test_points_are_moved_by_the_formula(method: Interpolation | Extrapolation, by: float) -> None:
    points = method(FEATURES, CLASSES, SEED)
    assert points.counts(CLASSES, 4)["after"].tolist() == [40, 0, 40, 40]
    for each in (2, 3):
        members = FEATURES[each == CLASSES].astype(np.float64)
        distances = pairwise_distances(members) + np.diag(np.full(len(members), np.inf))
        nearest = distances.argsort(axis=1)[:, :3]
        every = np.array([c + by * (members[k] - c) for j, c in enumerate(members) for k in nearest[j]])
        made = points.made[points.made_classes == each]
        errors = pairwise_distances(made.astype(np.float64), every)
        assert errors.min(axis=1).max() < 1e-6
        # Every pair comes once before any comes again: 28 of 36, and 33 of 21.
        times = np.bincount(errors.argmin(axis=1), minlength=len(every))
        assert times.max() == (1 if each == 2 else 2) and (each == 2 or times.min() == 1)


@pytest.mark.parametrize("name", names_of(Resampling))
def test_what_is_made_is_a_function_of_seed_and_points(name: str) -> None:
    method = read_words(name, Resampling, "resampling")[0]
    one, again = (method(FEATURES, CLASSES, SEED) for _ in range(2))
    for field in ("kept", "made", "made_classes"):
        np.testing.assert_array_equal(getattr(one, field), getattr(again, field))
    assert one.made.dtype == np.float32 and one.kept.dtype == one.made_classes.dtype == np.int64
    assert len(one.made) > 0 if method.makes_points else len(one.made) == 0
    assert len(one.kept) < len(CLASSES) or method.makes_points
    if name not in ("tomek-links", "cluster-centroids"):
        assert not np.array_equal(method(FEATURES, CLASSES, SEED + 1).made[-5:], one.made[-5:])


@pytest.mark.parametrize("fraction", [0.5, 1.5])
@pytest.mark.parametrize("kind", [Smote, Interpolation, Extrapolation])
def test_classes_grow_to_a_fraction_of_the_largest(kind: type[Smote], fraction: float) -> None:
    after = kind(fraction=fraction)(FEATURES, CLASSES, SEED).counts(CLASSES, 4)["after"]
    assert after.tolist() == ([40, 0, 20, 20] if fraction == 0.5 else [60, 0, 60, 60])


NAMES = ("kinase", "absent", "ligase", "lyase")


@pytest.mark.parametrize("name", ["smote", "borderline-smote", "smote-tomek", "interpolation", "extrapolation"])
def test_classes_with_too_few_members_are_named_with_a_way_out(name: str) -> None:
    method = read_words(f"{name}:neighbours=6", Resampling, "resampling")[0]
    check_resampling(method, COUNTS, NAMES)
    counts = np.array([40, 0, 3, 1])
    with pytest.raises(InputError, match=r"class 'lyase' has a single training record \(2 classes have too few\)"):
        check_resampling(method, counts, NAMES)
    with pytest.raises(InputError, match=rf"'ligase' has 3 training records.*needs 7; write {name}:neighbours=2"):
        check_resampling(method, np.array([40, 0, 3, 8]), NAMES)
    with pytest.raises(InputError, match=r"class 1 \(counting from 0\) has a single"):
        method(FEATURES[:21], np.repeat([0, 1], [20, 1]), SEED)
    # A class that need not grow need not have neighbours.
    check_resampling(read_words(f"{name}:fraction=0.05", Resampling, "resampling")[0], np.array([40, 0, 3, 2]), NAMES)


@pytest.mark.parametrize("name", ["tomek-links", "cluster-centroids"])
def test_choosing_needs_no_members(name: str) -> None:
    check_resampling(read_words(name, Resampling, "resampling")[0], np.array([40, 0, 3, 1]), NAMES)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqtrain.resampling.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'imbalanced-learn, which is not installed: pip install "seqtrain\[imbal'):
        check_resampling(Smote(), COUNTS, NAMES)
    check_resampling(Interpolation(), COUNTS, NAMES)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("smotte", "no resampling is called 'smotte'; did you mean 'smote'"),
        ("smote:neighbours=0", "neighbours is 0; give at least 1"),
        ("smote:fraction=0", "fraction is 0; give a number above 0"),
        ("smote:neighbors=3", "did you mean 'neighbours'"),
        ("borderline-smote:around=0", "around is 0; give at least 1"),
        ("interpolation:strength=1", "strength is 1; give a part of the way between 0 and 1"),
        ("extrapolation:strength=0", "strength is 0; give a number above 0"),
        ("extrapolation:strength=nan", "strength is nan"),
        ("cluster-centroids:ratio=0.5", "ratio is 0.5; the smallest class keeps its records"),
        ("tomek-links:remove=some", "'some' is none of not-minority, majority, all"),
    ],
)
def test_words_that_fit_nothing(words: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_words(words, Resampling, "resampling")


def test_danger_needs_points_around() -> None:
    with pytest.raises(InputError, match=r"there are 8 training records, and around=10 needs more"):
        BorderlineSmote(neighbours=1)(FEATURES[:8], np.repeat([0, 1], 4), SEED)


@pytest.mark.parametrize("name", names_of(Resampling))
def test_the_page_has_every_way_with_its_fields_and_their_defaults(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs/training_data.md").read_text(encoding="utf-8")
    found = re.search(rf"^\| `{name}:([^`]*)` \|", page, flags=re.MULTILINE)
    assert found, name
    kind = names_of(Resampling)[name]
    assert found[1].split(",") == [
        f"{field.name}={field.default if isinstance(field.default, str) else format(field.default, 'g')}"
        for field in fields(kind)
    ]


def test_the_figures_on_the_page_are_those_of_the_benchmark() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs/training_data.md").read_text(encoding="utf-8").replace("−", "-")
    measured = json.loads((root / "benchmarks/results/resampling.json").read_text(encoding="utf-8"))["table"]
    for method in measured["10"]:
        name = "plain softmax" if method == "softmax" else method
        (row,) = re.findall(rf"^\| {name} \| (\d.*) \|$", page, flags=re.MULTILINE)
        for ratio, text in zip(("10", "50", "100"), row.split(" | "), strict=True):
            cell = measured[ratio][method]
            assert float(text.split()[0]) == round(cell["macro_f1"], 3)
            if method != "balanced sampling":
                difference, deviation = re.findall(r"[+-]?\d\.\d{3}", text)[1:]
                assert float(difference) == round(cell["difference_from_balanced"], 3)
                assert float(deviation) == round(cell["sd_of_difference_from_balanced"], 3)
