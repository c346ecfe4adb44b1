"""X of every estimator here: a list, an array, or a column of a table, of N strings."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import issparse


class SequenceInput:
    """What all estimators have in common: the tags that say what they take."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags


def as_texts(X: Any) -> list[str]:
    """A list, an array, a column or a table of one column -> N strings.

    Raises:
        ValueError: one string in place of a list, several columns, or something that is not text.
        TypeError: a sparse matrix.
    """
    if isinstance(X, str):
        raise ValueError(f"one string of {len(X)} letters in place of a list of strings; write [sequence]")
    if issparse(X):
        raise TypeError("a sparse matrix in place of sequences; pass a list of strings")
    texts = X if isinstance(X, list | tuple) else np.asarray(X)
    if isinstance(texts, np.ndarray):
        if texts.ndim != 1 and not (texts.ndim == 2 and texts.shape[1] == 1):
            raise ValueError(f"sequences of shape {texts.shape}; pass one column of strings, such as table['sequence']")
        texts = texts.ravel().tolist()
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"sequence {index} is {text!r}, which is not text; leave it out or convert it")
    return list(texts)
