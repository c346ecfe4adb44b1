"""Encoders as scikit-learn transformers: a column of sequences in, a matrix of numbers out.

    make_pipeline(KmerEncoder(k=3), LogisticRegression()).fit(sequences, labels)

X is always a list, an array, or a column of a table, of N strings. Lower case is read as upper case. The trigrams and
unigrams of a coding sequence side by side are a FeatureUnion of SequenceOneHot("codon") and SequenceOneHot("dna").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack, issparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from seqtrain.alphabet import ALPHABETS, Alphabet
from seqtrain.encode.kmers import cumulated, sliding_words
from seqtrain.encode.one_hot import OneHot, column_of
from seqtrain.estimators.columns import SequenceInput, as_texts
from seqtrain.letters import PackedLetters
from seqtrain.lookup import look_up
from seqtrain.texts import pack_texts

_MOST_COLUMNS = np.iinfo(np.int32).max


class _SequenceTransformer(SequenceInput, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """What both transformers have in common: what they take, and that they keep no count of input features."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags

    @property
    def _alphabet(self) -> Alphabet:
        return _named_alphabet(self.alphabet)

    def _finish(self, matrix: csr_matrix) -> Any:
        return matrix if self.sparse_output else matrix.toarray()


class KmerEncoder(_SequenceTransformer):
    """Count the words of k letters in each sequence: (N,) strings -> (N, A^k) numbers.

    Words overlap; one with a letter outside the alphabet's A standard letters is not counted, and a sequence shorter
    than k is a row of zeros. Nothing is learned: the columns are all words, in the order of their letters.

    Parameters:
        k: letters per word, or several such numbers, such as (1, 2), whose columns then stand side by side.
        alphabet: "protein", "dna", "rna" or "codon" (k counts codons then), or an Alphabet.
        normalize: divide the counts of each k by their sum, so that long and short sequences compare.
        sparse_output: a scipy CSR matrix; otherwise a dense array, which set_output can turn into a table.
        dtype: type of the numbers.

    Attributes:
        alphabet_: the Alphabet.
        lengths_: the values of k.
    """

    def __init__(
        self,
        k: int | Sequence[int] = 3,
        alphabet: str | Alphabet = "protein",
        *,
        normalize: bool = False,
        sparse_output: bool = True,
        dtype: Any = np.float64,
    ) -> None:
        self.k = k
        self.alphabet = alphabet
        self.normalize = normalize
        self.sparse_output = sparse_output
        self.dtype = dtype

    def fit(self, X: Any, y: Any = None) -> KmerEncoder:
        """Check the parameters and the sequences (N,).

        Raises:
            ValueError: something that is not a sequence, a k below 1 or given twice, too many words, an unknown name.
        """
        pack_texts(self._alphabet, as_texts(X))
        self.alphabet_ = self._alphabet
        self.lengths_ = _word_lengths(self.k, len(self.alphabet_.standard_letters))
        return self

    def transform(self, X: Any) -> Any:
        """(N,) strings -> (N, sum of A^k) counts or, normalised, fractions.

        Raises:
            ValueError: something that is not a sequence.
        """
        check_is_fitted(self)
        packed = pack_texts(self.alphabet_, as_texts(X))
        letters = self.alphabet_.standard_letters
        digits = look_up(column_of(letters), packed.letters)
        blocks = [self._counts(digits, packed, k, len(letters)) for k in self.lengths_]
        return self._finish(blocks[0] if len(blocks) == 1 else hstack(blocks, format="csr"))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """(sum of A^k,) the words."""
        check_is_fitted(self)
        letters = OneHot(self.alphabet_).columns
        words = ["".join(word) for k in self.lengths_ for word in product(letters, repeat=k)]
        return np.array(words, dtype=object)

    def _counts(self, digits: NDArray[np.uint8], packed: PackedLetters, k: int, base: int) -> csr_matrix:
        """(N, base^k) counts of words of one length."""
        ids, num_words = sliding_words(digits, packed.boundaries, k, base)
        width = base**k
        known = ids < width
        starts = cumulated(known)[cumulated(num_words)]
        ones = np.ones(starts[-1], dtype=self.dtype)
        counts = csr_matrix((ones, ids[known].astype(np.int32), starts), shape=(len(packed), width))
        counts.sum_duplicates()
        if self.normalize:
            totals = np.maximum(np.diff(starts), 1)
            counts.data = (counts.data / np.repeat(totals, np.diff(counts.indptr))).astype(self.dtype)
        return counts


class SequenceOneHot(_SequenceTransformer):
    """One column for each letter at each position: (N,) strings -> (N, L x A) zeros and ones.

    For sequences of one length, such as variants of one protein or rows of an alignment. A letter outside the
    alphabet's A standard letters, or a position beyond the end of a shorter sequence, is zeros.

    Parameters:
        alphabet: "protein", "dna", "rna" or "codon" (positions are codons then), or an Alphabet.
        length: L, in letters; by default the length of the longest sequence in ``fit``.
        pad: take sequences shorter than L, left-aligned; longer ones are refused in any case, never cut.
        sparse_output: a scipy CSR matrix; otherwise a dense array, which set_output can turn into a table.
        dtype: type of the numbers.

    Attributes:
        alphabet_: the Alphabet.
        length_: L.
    """

    def __init__(
        self,
        alphabet: str | Alphabet = "protein",
        *,
        length: int | None = None,
        pad: bool = False,
        sparse_output: bool = True,
        dtype: Any = np.float64,
    ) -> None:
        self.alphabet = alphabet
        self.length = length
        self.pad = pad
        self.sparse_output = sparse_output
        self.dtype = dtype

    def fit(self, X: Any, y: Any = None) -> SequenceOneHot:
        """Learn L from the sequences (N,).

        Raises:
            ValueError: something that is not a sequence, sequences of other lengths, no sequences, an unknown alphabet.
        """
        packed = pack_texts(self._alphabet, as_texts(X))
        if not len(packed):
            raise ValueError("no sequences to learn the length from; give at least one")
        if self.length is not None and self.length < 1:
            raise ValueError(f"length = {self.length}; give a number of letters, or None for that of the sequences")
        self.alphabet_ = self._alphabet
        self.length_ = int(packed.lengths.max()) if self.length is None else int(self.length)
        self._check_lengths(packed.lengths)
        return self

    def transform(self, X: Any) -> Any:
        """(N,) strings -> (N, L x A), positions side by side.

        Raises:
            ValueError: something that is not a sequence, or a sequence of another length.
        """
        check_is_fitted(self)
        packed = pack_texts(self.alphabet_, as_texts(X))
        self._check_lengths(packed.lengths)
        letters = self.alphabet_.standard_letters
        digits = look_up(column_of(letters), packed.letters)
        known = digits < len(letters)
        columns = packed.positions[known] * len(letters) + digits[known]
        ones = np.ones(len(columns), dtype=self.dtype)
        shape = (len(packed), self.length_ * len(letters))
        return self._finish(csr_matrix((ones, columns, cumulated(known)[packed.boundaries]), shape=shape))

    def inverse_transform(self, X: Any) -> NDArray[np.object_]:
        """(N, L x A) zeros and ones, dense or sparse -> (N,) strings; what was no standard letter comes back as X or N.

        So does padding: sequences shorter than L cannot be told from those that end in odd letters.

        Raises:
            ValueError: another number of columns, or rows that are not one-hot.
        """
        check_is_fitted(self)
        dense = X.toarray() if issparse(X) else np.asarray(X)
        width = len(self.alphabet_.standard_letters)
        if dense.ndim != 2 or dense.shape[1] != self.length_ * width:
            raise ValueError(f"a matrix of shape {dense.shape} does not have {self.length_} x {width} columns")
        letters = OneHot(self.alphabet_).decode(dense.reshape(-1, width)).reshape(len(dense), -1)
        return np.array([self.alphabet_.text(row) for row in letters], dtype=object)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """(L x A,) position from 1 and letter, such as "12_A"."""
        check_is_fitted(self)
        letters = OneHot(self.alphabet_).columns
        return np.array([f"{at}_{letter}" for at in range(1, self.length_ + 1) for letter in letters], dtype=object)

    def _check_lengths(self, lengths: NDArray[np.int64]) -> None:
        wrong = np.flatnonzero((lengths > self.length_) | ((lengths < self.length_) & (not self.pad)))
        if len(wrong):
            found = lengths[wrong[0]]
            advice = "cut it or set length" if found > self.length_ else "set pad=True, or align the sequences"
            raise ValueError(f"sequence {wrong[0]} has {found} letters, not {self.length_}; {advice}")


def _named_alphabet(alphabet: str | Alphabet) -> Alphabet:
    if isinstance(alphabet, Alphabet):
        return alphabet
    if alphabet not in ALPHABETS:
        raise ValueError(f"alphabet {alphabet!r}; choose {', '.join(ALPHABETS)}")
    return ALPHABETS[alphabet]


def _word_lengths(k: int | Sequence[int], base: int) -> tuple[int, ...]:
    lengths = tuple(k) if isinstance(k, Iterable) else (k,)
    wrong = [length for length in lengths if not isinstance(length, Integral) or length < 1]
    if not lengths or wrong or len(set(lengths)) < len(lengths):
        raise ValueError(f"k = {k!r}; give a whole number of letters from 1, or several different ones")
    if sum(base**length for length in lengths) > _MOST_COLUMNS:
        raise ValueError(f"k = {k!r} makes more than {_MOST_COLUMNS} words of {base} letters; choose a lower k")
    return tuple(int(length) for length in lengths)
