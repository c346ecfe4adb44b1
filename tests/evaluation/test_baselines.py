"""Baselines learn what a simple model can learn, and say what they were."""

from __future__ import annotations

import numpy as np
import pytest

from seqtrain.evaluation import baselines as baselines_module
from seqtrain.evaluation import residue_baselines as residue_module
from seqtrain.evaluation.baselines import sequence_baselines
from seqtrain.evaluation.features import Letters, count_words, inverse_document_frequency, one_hot, tf_idf, windows
from seqtrain.evaluation.metrics import accuracy, pearson, spearman
from seqtrain.evaluation.residue_baselines import ResidueKind, residue_baselines

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"


def _sequences(count: int, shortest: int, longest: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, longest + 1, count)
    return ["".join(rng.choice(list(AMINO_ACIDS), length)) for length in lengths]


def _names(found: list[baselines_module.Baseline]) -> list[str]:
    return [baseline.name for baseline in found]


def _seeing(found: list[baselines_module.Baseline]) -> list[baselines_module.Baseline]:
    """The constant one, and those that look at sequences and are linear."""
    trees = ("random", "nearest", "gradient", "mutation")
    return [baseline for baseline in found if not any(word in baseline.name for word in trees)]


def test_words_equal_scikit_learn() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    sequences = [*_sequences(30, 3, 40, 0), "ACxACBac", "A", ""]
    letters = Letters.of(sequences[:30])
    counts = count_words(letters.pack(sequences), letters)
    clean = [sequence.upper().replace("X", " ").replace("B", " ") for sequence in sequences]
    vocabulary = [*AMINO_ACIDS, *(a + b for a in AMINO_ACIDS for b in AMINO_ACIDS)]
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), lowercase=False, vocabulary=vocabulary)
    expected = vectorizer.fit_transform(clean).toarray()
    assert tf_idf(counts, inverse_document_frequency(counts)) == pytest.approx(expected, abs=1e-6)


def test_bases_are_counted_in_words_of_four() -> None:
    sequences = ["ACGTACGT", "GGGGG"]
    letters = Letters.of(sequences)
    counts = count_words(letters.pack(sequences), letters)
    assert counts.shape == (2, 4 + 16 + 64 + 256)
    assert counts[1][counts[1] > 0].tolist() == [5, 4, 3, 2]


def test_one_hot_and_windows() -> None:
    letters = Letters.of(["AC"])
    found = one_hot(letters.pack(["ACA", "CX", "ACCC"]), letters, 3).toarray()
    assert found.tolist() == [[1, 0, 0, 1, 1, 0], [0, 1, 0, 0, 0, 0], [1, 0, 0, 1, 0, 1]]
    around = windows(letters.pack(["AC", "CA"]), letters, np.array([1, 2]), 1).toarray()
    assert around.tolist() == [[1, 0, 0, 1, 0, 0], [0, 0, 0, 1, 1, 0]]


def test_classification_beats_majority() -> None:
    sequences = _sequences(400, 20, 80, 1)
    classes = np.array([(s.count("W") + s.count("C")) / len(s) > 0.1 for s in sequences]).astype(int)
    found = sequence_baselines(sequences[:300], classes[:300], sequences[300:], kind="classification", seed=0)
    assert _names(found) == [
        "majority class",
        "uniform random",
        "class-frequency random",
        "nearest neighbour by k-mers",
        "k-mer (1 to 2) logistic regression",
        "k-mer (1 to 2) gradient boosting",
        "k-mer (1 to 2) random forest",
    ]
    scores = {each.name: accuracy(classes[300:], each.predictions.argmax(axis=1)) for each in found}
    majority, words = scores["majority class"], scores["k-mer (1 to 2) logistic regression"]
    assert min(scores["k-mer (1 to 2) gradient boosting"], scores["k-mer (1 to 2) random forest"]) > 0.8
    assert words > 0.8 > majority
    for baseline in found:
        assert baseline.predictions.shape == (100, 2)
        assert baseline.predictions.sum(axis=1) == pytest.approx(1)


def test_regression_by_position_beats_words() -> None:
    sequences = _sequences(500, 10, 10, 2)
    weights = np.random.default_rng(3).normal(size=(10, 20))
    values = np.array([sum(weights[i, AMINO_ACIDS.index(c)] for i, c in enumerate(s)) for s in sequences])
    found = sequence_baselines(sequences[:400], values[:400], sequences[400:], kind="regression", seed=0)
    assert "nearest neighbour by Hamming distance" in _names(found)
    found = _seeing(found)
    assert _names(found) == ["training mean", "k-mer (1 to 2) ridge regression", "one-hot ridge regression"]
    assert found[0].predictions == pytest.approx(values[:400].mean())
    assert spearman(values[400:], found[2].predictions) > 0.8 > spearman(values[400:], found[1].predictions)


def test_many_classes_by_least_squares() -> None:
    sequences = _sequences(600, 30, 60, 4)
    classes = np.arange(600) % 25
    marked = [s + AMINO_ACIDS[k % 20] * 8 + AMINO_ACIDS[k // 5] * 8 for s, k in zip(sequences, classes, strict=True)]
    found = sequence_baselines(marked[:500], classes[:500], marked[500:], kind="classification", num_classes=30, seed=0)
    found = _seeing(found)
    assert found[1].name == "k-mer (1 to 2) least-squares classifier"
    assert found[1].predictions.shape == (100, 30)
    assert found[1].predictions.sum(axis=1) == pytest.approx(1)
    assert (found[1].predictions[:, :25] > 0).all()
    assert accuracy(classes[500:], found[1].predictions.argmax(axis=1)) > 0.5


def test_several_targets() -> None:
    sequences = _sequences(300, 20, 60, 5)
    shares = np.array([[s.count("W") / len(s), s.count("K") / len(s)] for s in sequences])
    hidden = shares.copy()
    hidden[:50, 1] = np.nan
    numbers = sequence_baselines(sequences[:200], hidden[:200], sequences[200:], kind="multi_regression", seed=0)
    numbers = _seeing(numbers)
    assert numbers[0].predictions[0] == pytest.approx(np.nanmean(hidden[:200], axis=0))
    assert min(spearman(shares[200:, k], numbers[1].predictions[:, k]) for k in (0, 1)) > 0.6
    labels = (shares > shares.mean(axis=0)).astype(float)
    probabilities = sequence_baselines(sequences[:200], labels[:200], sequences[200:], kind="multilabel", seed=0)
    assert all(((each.predictions >= 0) & (each.predictions <= 1)).all() for each in probabilities)
    probabilities = _seeing(probabilities)
    assert probabilities[0].name == "label frequencies"
    assert ((probabilities[1].predictions >= 0) & (probabilities[1].predictions <= 1)).all()
    assert ((probabilities[1].predictions > 0.5) == labels[200:]).mean() > 0.75


def test_caps_are_named_and_keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines_module, "_MAX_ROWS", 80)
    monkeypatch.setattr(baselines_module, "_MIN_ROWS", 10)
    sequences = _sequences(120, 20, 90, 6)
    values = np.array([float(s.count("W")) for s in sequences])
    first, again, other = (
        _seeing(sequence_baselines(sequences, values, sequences[:5], kind="regression", seed=seed))[1]
        for seed in (0, 0, 1)
    )
    assert first.name.endswith(", 80 of 120 training records")
    assert (first.predictions == again.predictions).all()
    assert (first.predictions != other.predictions).any()


def test_unlabelled_and_constant_training() -> None:
    sequences = _sequences(40, 20, 90, 7)
    values = np.full(40, np.nan)
    values[:20] = 3.0
    found = sequence_baselines(sequences, values, sequences[:2], kind="regression", seed=0)
    assert _names(found) == ["training mean", "uniform random", "random training label"]
    assert all(each.predictions.tolist() == [3, 3] for each in found)
    classes = np.array([0, 1] * 10 + [-100] * 20)
    found = sequence_baselines(sequences, classes, sequences[:2], kind="classification", seed=0)
    assert found[0].predictions.tolist() == [[0.5, 0.5]] * 2
    assert all(each.predictions.shape == (2, 2) for each in found)


def test_no_test_records() -> None:
    sequences = _sequences(40, 30, 30, 8)
    found = sequence_baselines(sequences, np.arange(40.0), [], kind="regression", seed=0)
    assert [baseline.predictions.shape for baseline in found] == [(0,)] * len(found)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_residues_see_their_neighbours(kind: ResidueKind) -> None:
    sequences = _sequences(80, 30, 60, 9)
    targets = [np.array([int(i > 1 and s[i - 2] in "ACDEFG") for i in range(len(s))]) for s in sequences]
    if kind == "classification":
        targets[0] = np.full(len(targets[0]), -100)
    found = residue_baselines(sequences[:60], targets[:60], sequences[60:], kind=kind, seed=0)
    true = np.concatenate(targets[60:])
    assert [len(baseline.predictions) for baseline in found] == [len(true)] * 5
    found = [found[0], found[3], found[4]]
    assert all(each.name.startswith("window of ±7") for each in found[1:])
    if kind == "classification":
        assert min(accuracy(true, each.predictions.argmax(axis=1)) for each in found[1:]) > 0.95
        assert accuracy(true, found[0].predictions.argmax(axis=1)) < 0.8
    else:
        assert min(pearson(true, each.predictions) for each in found[1:]) > 0.95


def test_residue_cap_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residue_module, "MAX_POSITIONS", 50)
    sequences = _sequences(20, 30, 30, 10)
    targets = [np.arange(30) % 3 for _ in sequences]
    found = residue_baselines(sequences, targets, sequences[:4], kind="classification", which="linear", seed=0)
    assert found[-1].name.endswith("logistic regression, 50 of 600 training residues")
    assert found[-1].predictions.shape == (120, 3)


def test_what_is_left_out_when_asked() -> None:
    sequences = _sequences(60, 20, 60, 11)
    values = np.array([float(s.count("W")) for s in sequences])

    def names(which: baselines_module.Which) -> list[str]:
        found = sequence_baselines(sequences, values, sequences[:5], kind="regression", which=which, seed=0)
        return _names(found)

    assert names("none") == []
    assert names("linear") == [*names("all")[:3], "k-mer (1 to 2) ridge regression"]
    assert len(names("all")) == 7
    targets = [np.arange(len(s)) % 2 for s in sequences]
    assert residue_baselines(sequences, targets, [], kind="classification", which="none", seed=0) == []
