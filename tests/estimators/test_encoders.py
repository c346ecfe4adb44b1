"""scikit-learn transformers of sequences: right numbers, and good citizens of pipelines.

``estimator_checks_generator`` gives a single check (that of cloning) for estimators whose input is text, as it does for
scikit-learn's own CountVectorizer; nearly all others feed matrices of numbers. Those that feed nothing are run by name
below. Those that feed matrices, but ask what has a meaning for sequences, are asked again here with sequences:
check_estimators_fit_returns_self, check_estimators_overwrite_params, check_dont_overwrite_parameters,
check_dict_unchanged, check_estimators_unfitted, check_fit_check_is_fitted, check_fit_idempotent,
check_methods_subset_invariance, check_methods_sample_order_invariance, check_estimators_pickle,
check_transformer_general, check_pipeline_consistency, check_fit_score_takes_y, check_fit2d_1sample,
check_estimators_empty_data_messages, check_transformer_get_feature_names_out, and check_set_output_transform with
pandas and polars where these are installed.

The others do not apply, because they are about
* the number and the names of input features: check_n_features_in, check_n_features_in_after_fitting,
  check_dataframe_column_names_consistency, check_fit2d_1feature;
* matrices as input: check_estimators_dtypes, check_transformer_preserve_dtypes, check_transformer_data_not_an_array,
  check_estimators_nan_inf, check_complex_data, check_dtype_object, check_estimator_sparse_tag (_array, _matrix),
  check_readonly_memmap_input, check_f_contiguous_array_estimator, check_array_api_input, check_fit1d,
  check_fit2d_predict1d, check_positive_only_tag_during_fit;
* iterations, weights, classes, targets (check_transformer_n_iter and many more);
* scikit-learn's private table of parameter constraints: check_param_validation.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix, issparse
from sklearn.base import BaseEstimator, clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.validation import check_is_fitted

from seqtrain.alphabet import CODON, CODONS, PROTEIN
from seqtrain.encode import TRI_UNIGRAM, OneHot, pack_texts
from seqtrain.estimators import KmerEncoder, SequenceOneHot
from tests.other_process import there_and_back

RESIDUES = PROTEIN.standard
TRANSFORMERS = [
    KmerEncoder(),
    KmerEncoder((1, 2), normalize=True),
    KmerEncoder(2, "codon", sparse_output=False),
    SequenceOneHot(),
    SequenceOneHot("dna", pad=True, sparse_output=False, dtype=np.float32),
    SequenceOneHot("codon", length=9, pad=True),
]
each = pytest.mark.parametrize("transformer", TRANSFORMERS, ids=str)


def proteins(lengths: list[int], seed: int = 0, letters: str = RESIDUES) -> list[str]:
    draws = np.random.default_rng(seed)
    return ["".join(draws.choice(list(letters), length)) for length in lengths]


def variants(seed: int = 0) -> list[str]:
    """Sequences of nine letters that are residues, bases, and three codons, all at once."""
    return proteins([9] * 12, seed, "ACGT")


def dense(matrix: Any) -> Any:
    return matrix.toarray() if issparse(matrix) else matrix


@each
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
        estimator_checks.check_transformers_unfitted,
        estimator_checks.check_get_feature_names_out_error,
    ],
    ids=lambda check: check.__name__,
)
def test_checks_of_scikit_learn_that_apply(transformer: BaseEstimator, check: Callable[[str, Any], None]) -> None:
    check(type(transformer).__name__, clone(transformer))


@each
def test_what_scikit_learn_itself_selects(transformer: BaseEstimator) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", estimator_checks.SkipTestWarning)
        checks = list(estimator_checks.estimator_checks_generator(transformer))
    assert checks
    for estimator, check in checks:
        check(estimator)


@each
def test_fitting_returns_self_and_leaves_parameters_and_input_alone(transformer: BaseEstimator) -> None:
    texts = variants()
    kept, estimator = list(texts), clone(transformer)
    parameters, public = repr(estimator.get_params()), set(vars(estimator))
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)
    assert estimator.fit(texts) is estimator
    check_is_fitted(estimator)
    assert repr(estimator.get_params()) == parameters and texts == kept
    assert all(name.endswith("_") for name in set(vars(estimator)) - public)
    fitted = {name: repr(value) for name, value in vars(estimator).items()}
    estimator.transform(texts)
    assert {name: repr(value) for name, value in vars(estimator).items()} == fitted


@each
def test_unfitted_ones_say_so(transformer: BaseEstimator) -> None:
    estimator = clone(transformer)
    for call in (estimator.transform, estimator.get_feature_names_out):
        with pytest.raises(NotFittedError):
            call(variants())


@each
def test_rows_depend_on_their_own_sequence_alone(transformer: BaseEstimator) -> None:
    texts = variants()
    estimator = clone(transformer).fit(texts)
    whole = dense(estimator.transform(texts))
    assert (whole == np.concatenate([dense(estimator.transform([text])) for text in texts])).all()
    order = np.random.default_rng(1).permutation(len(texts))
    assert (dense(estimator.transform(np.array(texts)[order])) == whole[order]).all()
    again = clone(transformer).fit(texts[:1])
    assert (dense(again.transform(texts)) == whole).all(), "columns do not depend on what was fitted, at one length"
    assert (dense(estimator.fit(texts).transform(texts)) == whole).all(), "fitting again changes nothing"
    assert (dense(clone(transformer).fit_transform(texts, np.zeros(len(texts)))) == whole).all()


@each
def test_pickles_and_clones_give_the_same(transformer: BaseEstimator) -> None:
    texts = variants()
    estimator = clone(transformer).fit(texts)
    loaded = there_and_back(estimator)
    assert (dense(loaded.transform(texts)) == dense(estimator.transform(texts))).all()
    copied = clone(estimator)
    assert repr(copied) == repr(estimator) and not any(name.endswith("_") for name in vars(copied))
    assert len(pickle.dumps(estimator)) < 20_000


@each
def test_types_shapes_and_names(transformer: BaseEstimator) -> None:
    estimator = clone(transformer).fit(variants())
    matrix = estimator.transform(variants(1))
    assert isinstance(matrix, csr_matrix) == estimator.sparse_output
    assert matrix.dtype == estimator.dtype
    names = estimator.get_feature_names_out()
    assert names.dtype == object and names.shape == (matrix.shape[1],) and len(set(names)) == len(names)
    assert (estimator.get_feature_names_out(["sequence"]) == names).all()
    if issparse(matrix):
        matrix.check_format()
        assert matrix.has_canonical_format


@each
def test_every_kind_of_column(transformer: BaseEstimator) -> None:
    texts = variants()
    expected = dense(clone(transformer).fit_transform(texts))
    columns = [
        tuple(texts),
        np.array(texts),
        np.array(texts, dtype=object),
        np.array(texts, dtype=object)[:, None],
        np.array(texts, dtype=np.dtypes.StringDType()),
        [text.lower() for text in texts],
    ]
    for column in columns:
        assert (dense(clone(transformer).fit_transform(column)) == expected).all()


@each
@pytest.mark.parametrize("module", ["pandas", "polars"])
def test_columns_and_output_of_tables(transformer: BaseEstimator, module: str) -> None:
    tables = pytest.importorskip(module)
    texts = variants()
    estimator = clone(transformer)
    expected = dense(estimator.fit_transform(texts))
    table = tables.DataFrame({"sequence": texts})
    assert (dense(estimator.fit_transform(table["sequence"])) == expected).all()
    assert (dense(estimator.fit_transform(table)) == expected).all()
    estimator.set_params(sparse_output=False).set_output(transform=module)
    output = estimator.fit_transform(table["sequence"])
    assert isinstance(output, tables.DataFrame) and list(output.columns) == list(estimator.get_feature_names_out())
    assert (output.to_numpy() == expected).all()


@each
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("ACGT", r"one string of 4 letters in place of a list of strings"),
        (["ACGTACGTA", None], r"sequence 1 is None, which is not text"),
        (np.array([1.0, 2.0]), r"sequence 0 is 1.0, which is not text"),
        (np.array([["A", "C"]]), r"sequences of shape \(1, 2\); pass one column of strings"),
    ],
)
def test_what_is_no_column_of_sequences_is_refused(transformer: BaseEstimator, wrong: Any, message: str) -> None:
    fitted = clone(transformer).fit(variants())
    for call in (clone(transformer).fit, fitted.transform):
        with pytest.raises(ValueError, match=message):
            call(wrong)
    with pytest.raises(TypeError, match=r"a sparse matrix in place of sequences"):
        fitted.transform(csr_matrix(np.eye(3)))


TEXT = st.text(alphabet=RESIDUES[:5] + "XJ*", max_size=12)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(texts=st.lists(TEXT, min_size=1, max_size=6), k=st.sampled_from([1, 2, 3]))
def test_counts_are_those_of_a_count_vectorizer(texts: list[str], k: int) -> None:
    words = ["".join(word) for word in product(RESIDUES, repeat=k)]
    theirs = CountVectorizer(analyzer="char", ngram_range=(k, k), lowercase=False, vocabulary=words)
    encoder = KmerEncoder(k).fit(texts)
    counts = encoder.transform(texts)
    assert encoder.get_feature_names_out().tolist() == words
    assert (counts != theirs.transform(texts)).nnz == 0


def test_several_lengths_stand_side_by_side_and_normalise_apart() -> None:
    texts = [*proteins([30, 1, 50]), "", "XXXX", "ACX"]
    blocks = [KmerEncoder(k).fit_transform(texts).toarray() for k in (1, 3)]
    encoder = KmerEncoder((1, 3)).fit(texts)
    assert (encoder.transform(texts).toarray() == np.concatenate(blocks, axis=1)).all()
    assert encoder.get_feature_names_out().tolist()[:21] == [*RESIDUES, "AAA"]
    fractions = KmerEncoder((1, 3), normalize=True).fit_transform(texts).toarray()
    expected = [block / np.maximum(block.sum(axis=1, keepdims=True), 1) for block in blocks]
    np.testing.assert_allclose(fractions, np.concatenate(expected, axis=1), rtol=1e-12)
    assert not fractions[3:5].any()


def test_codons_are_counted_in_frame() -> None:
    encoder = KmerEncoder(1, "codon").fit([])
    counts = encoder.transform(["ATGATGTAA", "TGATGA"]).toarray()
    names = encoder.get_feature_names_out().tolist()
    assert names == list(CODONS)
    found = [{names[column]: counts[row, column] for column in np.flatnonzero(counts[row])} for row in range(2)]
    assert found == [{"ATG": 2, "TAA": 1}, {"TGA": 2}]
    with pytest.raises(ValueError, match=r"sequence 1 has 4 bases, which is not a whole number of codons"):
        encoder.transform(["ATG", "ATGA"])
    assert KmerEncoder(1, CODON).fit([]).get_feature_names_out().tolist() == names


def test_no_sequences_have_no_rows() -> None:
    assert KmerEncoder(2).fit_transform([]).shape == (0, 400)
    with pytest.raises(ValueError, match=r"no sequences to learn the length from"):
        SequenceOneHot().fit([])
    assert SequenceOneHot(length=3).fit(["ACD"]).transform([]).shape == (0, 60)


@pytest.mark.parametrize("k", [0, -1, (), (1, 1), (0, 2), 2.5, "3"])
def test_impossible_k_is_refused(k: Any) -> None:
    with pytest.raises(ValueError, match=r"give a whole number of letters from 1, or several different ones"):
        KmerEncoder(k).fit(["ACD"])


def test_other_parameters_are_refused_when_fitting() -> None:
    with pytest.raises(ValueError, match=r"k = 8 makes more than 2147483647 words of 20 letters"):
        KmerEncoder(8).fit(["ACD"])
    for transformer in (KmerEncoder(alphabet="peptide"), SequenceOneHot("peptide")):
        with pytest.raises(ValueError, match=r"alphabet 'peptide'; choose protein, dna, rna, codon"):
            transformer.fit(["ACD"])
    with pytest.raises(ValueError, match=r"length = 0; give a number of letters"):
        SequenceOneHot(length=0).fit(["ACD"])


def test_words_up_to_the_most_columns() -> None:
    texts = proteins([40, 40])
    counts = KmerEncoder(7).fit_transform(texts)
    assert counts.shape == (2, 20**7) and counts.sum() == 2 * 34


@pytest.mark.parametrize("alphabet", ["protein", "dna", "codon"])
def test_positions_are_those_of_one_hot_rows(alphabet: str) -> None:
    texts = variants()
    encoder = SequenceOneHot(alphabet).fit(texts)
    kind = encoder.alphabet_
    rows = np.stack([OneHot(kind)(pack_texts(kind, [text])).ravel() for text in texts])
    assert (encoder.transform(texts).toarray() == rows).all()
    first = OneHot(kind).columns[0]
    assert encoder.get_feature_names_out()[[0, rows.shape[1] // encoder.length_]].tolist() == [
        f"1_{first}",
        f"2_{first}",
    ]
    assert encoder.inverse_transform(encoder.transform(texts)).tolist() == texts
    assert encoder.inverse_transform(rows).tolist() == texts


def test_gaps_padding_and_odd_letters_are_zeros() -> None:
    encoder = SequenceOneHot(pad=True).fit(["A-C", "XW"])
    matrix = encoder.transform(["A-C", "XW", ""]).toarray().reshape(3, 3, 20)
    assert matrix.sum(axis=2).tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert encoder.inverse_transform(matrix.reshape(3, -1)).tolist() == ["AXC", "XWX", "XXX"]
    with pytest.raises(ValueError, match=r"a matrix of shape \(3, 20\) does not have 3 x 20 columns"):
        encoder.inverse_transform(matrix[:, 0])


def test_other_lengths_are_refused_never_cut() -> None:
    with pytest.raises(ValueError, match=r"sequence 1 has 2 letters, not 3; set pad=True, or align the sequences"):
        SequenceOneHot().fit(["ACD", "AC"])
    encoder = SequenceOneHot(pad=True).fit(["ACD", "AC"])
    with pytest.raises(ValueError, match=r"sequence 0 has 4 letters, not 3; cut it or set length"):
        encoder.transform(["ACDE"])
    with pytest.raises(ValueError, match=r"sequence 0 has 3 letters, not 2; cut it"):
        SequenceOneHot(length=2, pad=True).fit(["ACD"])


def test_the_trigrams_and_unigrams_of_a_coding_sequence_in_a_union() -> None:
    texts = variants()
    union = FeatureUnion([("codons", SequenceOneHot("codon")), ("bases", SequenceOneHot("dna"))])
    matrix = union.fit_transform(texts).toarray()
    for text, row in zip(texts, matrix, strict=True):
        rows = TRI_UNIGRAM.one_hot(pack_texts(TRI_UNIGRAM.parts[0].alphabet, [text]))
        assert (np.concatenate([rows[:3, :64].ravel(), rows[3:, 64:].ravel()]) == row).all()
    assert union.get_feature_names_out()[0] == "codons__1_TTT"


def labelled(count: int = 120) -> tuple[list[str], Any]:
    """Sequences that are rich in leucine, or in lysine."""
    labels = np.arange(count) % 2
    texts = [
        "".join(np.random.default_rng(i).choice([*RESIDUES, *("LK"[label] * 4)], 60)) for i, label in enumerate(labels)
    ]
    return texts, labels


def test_a_pipeline_learns() -> None:
    texts, labels = labelled()
    model = make_pipeline(KmerEncoder(3), LogisticRegression())
    assert model.fit(texts[:80], labels[:80]).score(texts[80:], labels[80:]) > 0.7
    assert model[:-1].get_feature_names_out().shape == model[-1].coef_.shape[1:]
    by_length = GridSearchCV(model, {"kmerencoder__k": [1, (1, 2)], "kmerencoder__normalize": [False, True]}, cv=3)
    assert by_length.fit(texts, labels).best_score_ > 0.85
    assert cross_val_score(make_pipeline(KmerEncoder(1), LogisticRegression()), texts, labels).mean() > 0.85
    rows = there_and_back(model).predict_proba(texts)
    assert (rows == model.predict_proba(texts)).all()


def test_a_column_among_other_columns() -> None:
    texts, labels = labelled()
    table = np.empty((len(texts), 2), dtype=object)
    table[:, 0], table[:, 1] = texts, np.arange(len(texts)) / 7
    columns = ColumnTransformer([("words", KmerEncoder((1, 2)), 0), ("number", StandardScaler(), [1])])
    matrix = dense(columns.fit_transform(table))
    assert matrix.shape == (len(texts), 421)
    assert (matrix[:, :420] == KmerEncoder((1, 2)).fit_transform(texts).toarray()).all()
    names = columns.get_feature_names_out()
    assert names[0] == "words__A" and names[-1] == "number__x1"
    model = make_pipeline(columns, LogisticRegression(max_iter=500)).fit(table, labels)
    assert model.score(table, labels) > 0.9
