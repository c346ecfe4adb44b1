"""Networks as scikit-learn estimators: good citizens of its tools, and the same as the runs of the command line.

As for the encoders (``test_encoders.py``, which says which checks of scikit-learn feed matrices of numbers and cannot
apply), the checks that feed nothing are run by name, and what the others ask is asked here with sequences.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks
from sklearn.utils.validation import check_is_fitted

from seqtrain.errors import InputError
from seqtrain.estimators import SequenceClassifier, SequenceRegressor
from tests.other_process import there_and_back

SMALL: dict[str, Any] = {"model": "cnn", "size": "10K", "epochs": 14, "learning_rate": 0.01, "device": "cpu"}
CLASSIFIER, REGRESSOR = SequenceClassifier(**SMALL), SequenceRegressor(**SMALL)
both = pytest.mark.parametrize("estimator", [CLASSIFIER, REGRESSOR], ids=["classifier", "regressor"])


def sequences(count: int = 40, seed: int = 0) -> list[str]:
    """Random residues; every second sequence has a run of tryptophan."""
    draws = np.random.default_rng(seed)
    return ["".join(draws.choice(list("ACDEFGHIKL"), 10)) + ("WWWW" if i % 2 else "") for i in range(count)]


def targets(estimator: BaseEstimator, count: int = 40) -> NDArray[Any]:
    names = np.array(["absent", "there"] * (count // 2))
    return names if is_classifier(estimator) else np.arange(count) % 2 * 100.0 + 1000.0


@pytest.fixture(scope="module")
def fitted() -> dict[bool, Any]:
    """Both estimators, fitted once."""
    return {is_classifier(each): clone(each).fit(sequences(), targets(each)) for each in (CLASSIFIER, REGRESSOR)}


@both
@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_valid_tag_types,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
        estimator_checks.check_mixin_order,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
    ],
    ids=lambda check: check.__name__,
)
def test_checks_of_scikit_learn_that_apply(estimator: BaseEstimator, check: Callable[[str, Any], None]) -> None:
    check(type(estimator).__name__, clone(estimator))


@both
def test_what_is_learnt_is_there_and_the_rest_as_it_was(estimator: BaseEstimator, fitted: dict[bool, Any]) -> None:
    found = fitted[is_classifier(estimator)]
    check_is_fitted(found)
    assert found.get_params() == estimator.get_params()
    assert is_classifier(found) != is_regressor(found)
    public = set(vars(found)) - set(vars(estimator))
    assert all(name.endswith("_") or name.startswith("_") for name in public)
    score = found.score(sequences(seed=1), targets(estimator))
    assert score > 0.9 if is_classifier(estimator) else score > 0.5
    reference = accuracy_score if is_classifier(estimator) else r2_score
    assert score == reference(targets(estimator), found.predict(sequences(seed=1)))


@both
def test_unfitted_ones_say_so(estimator: BaseEstimator, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        estimator.predict(sequences())
    with pytest.raises(NotFittedError):
        estimator.save(tmp_path / "run")


@both
def test_fitting_again_gives_the_same_and_another_seed_another(estimator: Any, fitted: dict[bool, Any]) -> None:
    texts, labels = sequences(), targets(estimator)
    short = clone(estimator).set_params(epochs=1)
    first = values(short.fit(texts, labels), texts)
    assert (values(short.fit(texts, labels), texts) == first).all()
    assert (values(short.set_params(random_state=5).fit(texts, labels), texts) != first).any()
    state = np.random.RandomState(3)
    assert (values(short.set_params(random_state=state).fit(texts, labels), texts) != first).any()


@both
def test_rows_depend_on_their_own_sequence_alone(estimator: BaseEstimator, fitted: dict[bool, Any]) -> None:
    found, texts = fitted[is_classifier(estimator)], sequences(10, seed=2)
    whole = values(found, texts)
    alone = np.concatenate([values(found, [text]) for text in texts])
    np.testing.assert_allclose(whole, alone, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(values(found, np.array(texts)[::-1]), whole[::-1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(values(found, np.array(texts, dtype=object)[:, None]), whole, rtol=1e-6)
    assert values(found, []).shape == (0, whole.shape[1])


@both
def test_another_process_predicts_the_same(estimator: BaseEstimator, fitted: dict[bool, Any]) -> None:
    found, texts = fitted[is_classifier(estimator)], sequences(6, seed=3)
    assert (values(there_and_back(found), texts) == values(found, texts)).all()
    assert not hasattr(there_and_back(clone(estimator)), "run_files_")
    assert not hasattr(clone(found), "run_files_")


@both
def test_what_is_saved_is_a_run(estimator: BaseEstimator, fitted: dict[bool, Any], tmp_path: Path) -> None:
    from click.testing import CliRunner

    from seqtrain_cli.main import seqtrain

    found = fitted[is_classifier(estimator)]
    found.save(tmp_path / "run")
    with pytest.raises(InputError, match=r"exists already; choose another folder"):
        found.save(tmp_path / "run")
    texts = sequences(4, seed=4)
    (tmp_path / "new.fasta").write_text("".join(f">{i}\n{text}\n" for i, text in enumerate(texts)))
    arguments = ["predict", str(tmp_path / "run"), str(tmp_path / "new.fasta"), "-o", str(tmp_path / "out.csv")]
    assert CliRunner().invoke(seqtrain, arguments).exit_code == 0
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    if is_classifier(estimator):
        assert [row[1] for row in rows] == found.predict(texts).tolist()
    else:
        np.testing.assert_allclose([float(row[1]) for row in rows], found.predict(texts), rtol=1e-5)


def test_probabilities_stand_in_the_order_of_the_classes(fitted: dict[bool, Any]) -> None:
    found, texts = fitted[True], sequences(seed=5)
    probabilities = found.predict_proba(texts)
    assert found.classes_.tolist() == ["absent", "there"]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert (found.classes_[probabilities.argmax(axis=1)] == found.predict(texts)).all()


@pytest.mark.parametrize("labels", [[10, 9] * 20, [True, False] * 20, [2.0, 10.0] * 20], ids=["int", "bool", "float"])
def test_classes_keep_their_type(labels: list[Any]) -> None:
    found = clone(CLASSIFIER).set_params(epochs=3, size="5K").fit(sequences(), labels)
    assert (found.classes_ == np.unique(labels)).all() and found.classes_.dtype == np.array(labels).dtype
    predicted = found.predict(sequences(seed=6))
    assert predicted.dtype == np.array(labels).dtype and set(predicted.tolist()) <= set(labels)


def test_several_numbers_with_gaps() -> None:
    numbers = np.stack([targets(REGRESSOR), -targets(REGRESSOR)], axis=1)
    numbers[::5, 1] = np.nan
    found = clone(REGRESSOR).fit(sequences(), numbers)
    predicted = found.predict(sequences(seed=7))
    assert predicted.shape == (40, 2) and np.corrcoef(predicted[:, 0], predicted[:, 1])[0, 1] < -0.5


def test_records_without_weight_are_not_learnt_from() -> None:
    texts, labels = sequences(), targets(CLASSIFIER)
    wrong = np.where(np.arange(40) < 20, labels[::-1], labels)
    weights = np.where(np.arange(40) < 20, 0.0, 1.0)
    heavy = clone(CLASSIFIER).set_params(epochs=16).fit(texts, wrong, sample_weight=weights)
    assert heavy.score(sequences(seed=8), labels) > 0.9


def test_grid_search_cross_validation_and_pipelines() -> None:
    texts, labels = sequences(16), targets(CLASSIFIER, 16)
    search = GridSearchCV(clone(CLASSIFIER), {"epochs": [1, 2]}, cv=2, refit=False).fit(texts, labels)
    assert search.cv_results_["mean_test_score"].shape == (2,) and np.isfinite(search.best_score_)
    pipeline = make_pipeline(FunctionTransformer(_upper), clone(REGRESSOR).set_params(epochs=1))
    scores = cross_val_score(pipeline, [text.lower() for text in texts], targets(REGRESSOR, 16), cv=2, n_jobs=1)
    assert scores.shape == (2,) and np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("texts", "labels", "settings", "message"),
    [
        (["ACD", "AC1"], [0, 1], {}, r"sequence 1: a letter outside the protein alphabet: '1'"),
        (["ACD", ""], [0, 1], {}, r"sequence 1: empty sequence"),
        (["ACD", None], [0, 1], {}, r"sequence 1 is None, which is not text"),
        (["ACD", "ACE", "ACF"], [0, 1], {}, r"3 sequences and 2 labels; give one label for each"),
        (["ACD", "ACE"], [1, 1], {}, r"1 class; a classifier needs at least two"),
        (["ACD", "ACE"], [0.5, 1.5], {}, r"[Uu]nknown label type: continuous"),
        ("ACD", [0, 1], {}, r"one string of 3 letters in place of a list of strings"),
        (["ACD", "ACE"], np.array([1, "1"], dtype=object), {}, r"written alike|[Uu]nknown label type"),
        (["ACD", "ACE"], [0, 1], {"model": "cnnn"}, r"did you mean 'cnn'"),
        (["ACD", "ACE"], [0, 1], {"settings": {"lose": "focal"}}, r"settings: unknown key 'lose'; did you mean"),
        (["ACD", "ACE"], [0, 1], {"settings": {"calibrate": "temperatur"}}, r"settings: calibrate = .*choose from"),
        (["ACD", "ACE"], [0, 1], {"settings": {"bagging": "bootstrap"}}, r"bagging"),
        (["ACD", "ACE"], ["a ", "b"], {}, r"a class 'a '; give it a name"),
        (["ACD", "ACE"], [0, 1], {"settings": {"epochs": 3}}, r"epochs is decided by the estimator"),
        (["ACD", "ACE"], [0, 1], {"settings": {"members": 3}}, r"VotingClassifier"),
        (["ACGT" * 20, "ACGG" * 20], [0, 1], {}, r"say what they are: --alphabet dna"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_in_one_line(
    texts: Any, labels: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        clone(CLASSIFIER).set_params(**settings).fit(texts, labels)
    assert "X.csv" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, np.nan]])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match=r"sample_weight of shape .* give 2 finite numbers of at least 0"):
        clone(CLASSIFIER).fit(["ACD", "ACE"], [0, 1], sample_weight=weights)


@pytest.mark.parametrize("numbers", [[1.0, np.inf], [1.0, np.nan]])
def test_numbers_that_are_none_are_refused(numbers: list[float]) -> None:
    with pytest.raises(ValueError, match=r"y holds infinity, or a row without any number"):
        clone(REGRESSOR).fit(["ACD", "ACE"], numbers)


def test_further_settings_reach_the_training_and_verbose_says_what_happens(capsys: pytest.CaptureFixture[str]) -> None:
    found = clone(CLASSIFIER).set_params(epochs=1, verbose=True, settings={"loss": "focal:gamma=1", "dropout": 0.2})
    found.fit(sequences(), targets(CLASSIFIER))
    config = found.run_files_["config.toml"].decode()
    assert 'loss = "focal:gamma=1"' in config and "dropout = 0.2" in config
    assert "held out" in capsys.readouterr().out


def test_readings_and_diagnosis_are_kept_and_used() -> None:
    settings = {"calibrate": "temperature", "threshold": "0.000001", "debug": True}
    found = clone(CLASSIFIER).set_params(epochs=6, settings=settings).fit(sequences(), targets(CLASSIFIER))
    assert set(found.predict(sequences())) == {"there"}
    assert (found.predict_proba(sequences())[:, 1] < 0.5).any()
    assert b'"temperature"' in found.run_files_["task.json"] and b'"after"' in found.run_files_["debug.json"]
    with pytest.raises(InputError, match="settings: split_by names sets"):
        clone(CLASSIFIER).set_params(settings={"split_by": "random"}).fit(sequences(), targets(CLASSIFIER))


def values(estimator: Any, texts: Any) -> NDArray[np.float64]:
    """(N, K) what an estimator says in numbers."""
    found = estimator.predict_proba(texts) if is_classifier(estimator) else estimator.predict(texts)
    return (
        np.asarray(found).reshape(len(found), -1) if len(found) else np.zeros((0, 2 if is_classifier(estimator) else 1))
    )


def _upper(texts: Any) -> list[str]:
    return [text.upper() for text in texts]
