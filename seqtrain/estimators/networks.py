"""Finetuning as a scikit-learn classifier and regressor: a column of sequences and labels in, predictions out.

    SequenceClassifier(model="cnn", size="100K", epochs=10).fit(sequences, labels).predict(others)

Fitting is the finetuning of the command line: the same defaults, the same loop, the same files. What it leaves is the
files of a run directory: they are what is pickled, and what ``save`` writes for ``seqtrain predict``. torch is imported
when something is fitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from seqtrain.errors import InputError
from seqtrain.estimators.columns import SequenceInput, as_texts
from seqtrain.estimators.fitted_run import fitted_run, predictor_of, write_files

_SEEDS = 2**31 - 1


class _SequenceNetwork(SequenceInput, BaseEstimator):  # type: ignore[misc]
    """What both estimators have in common: their parameters, and a fitted state that is a run directory."""

    _kind: str

    def __init__(
        self,
        model: str | None = None,
        *,
        size: str | None = None,
        init_from: str | None = None,
        epochs: int | None = None,
        learning_rate: float | None = None,
        alphabet: str = "auto",
        device: str = "auto",
        settings: Mapping[str, Any] | None = None,
        random_state: Any = 0,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.size = size
        self.init_from = init_from
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.alphabet = alphabet
        self.device = device
        self.settings = settings
        self.random_state = random_state
        self.verbose = verbose

    def save(self, folder: str | Path) -> None:
        """Write the fitted network as a run directory, for ``seqtrain predict``, ``embed``, ``evaluate`` …

        Raises:
            NotFittedError: nothing was fitted.
            InputError: the folder exists already.
        """
        from seqtrain.io.run_directory import replacing_folder

        check_is_fitted(self)
        if Path(folder).exists():
            raise InputError(f"{folder}: exists already; choose another folder")
        with replacing_folder(Path(folder)) as partial:
            write_files(self.run_files_, partial)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_predictor"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "run_files_"):
            self._predictor = predictor_of(self.run_files_, self.device)

    def _fit(self, X: Any, labels: Sequence[Sequence[str]], sample_weight: Any) -> None:
        """Train on N sequences with a row of label cells each."""
        from seqtrain.fitting import Silent

        texts = as_texts(X)
        if len(texts) != len(labels):
            raise ValueError(f"{len(texts)} sequences and {len(labels)} labels; give one label for each")
        if not texts:
            raise ValueError("no sequences to learn from; give at least one")
        weights = None if sample_weight is None else _weights(sample_weight, len(texts))
        own = {
            "task": self._kind, "model": self.model, "size": self.size, "init_from": self.init_from,
            "epochs": self.epochs, "learning_rate": self.learning_rate, "alphabet": self.alphabet,
            "device": self.device, "seed": _seed(self.random_state),
        }  # fmt: skip
        listener = _Printing() if self.verbose else Silent()
        self.run_files_ = fitted_run(texts, labels, weights, own=own, further=self.settings or {}, listener=listener)
        self._predictor = predictor_of(self.run_files_, self.device)

    def _values(self, X: Any) -> NDArray[np.float64]:
        """(N, K) numbers in units of the labels, or probabilities in the order of the network's classes."""
        check_is_fitted(self)
        from seqtrain.io.ledger import Ledger
        from seqtrain.io.records import RawRecord, RecordReader

        predictor = self._predictor
        task = predictor.task
        assert task is not None
        read = RecordReader(predictor.alphabet, "error", Ledger(), max_length=predictor.max_length, long="window")
        raw = (
            RawRecord(str(index), text.encode("utf-8", "replace"), "X", f"sequence {index}")
            for index, text in enumerate(as_texts(X))
        )
        outputs = [values for _, values in predictor.outputs(read(raw)) if values is not None]
        width = task.loss.width(task.outputs)
        return task.values(np.concatenate(outputs) if outputs else np.zeros((0, width), np.float32))


class SequenceClassifier(ClassifierMixin, _SequenceNetwork):  # type: ignore[misc]
    """Finetune a network that tells classes of sequences: (N,) strings and (N,) classes.

    A tenth of the records of each class is held out of the training, equal sequences together, to keep the weights that
    were best on them.

    Parameters:
        model: in words, such as "transformer", "cnn", "cnn:kernel_size=7"; None: a transformer.
        size: parameters of the body, such as "100K" or "8M"; None: "1M" on a CPU, "8M" on a GPU.
        init_from: a run directory, a model folder or a name on the Hugging Face hub to start from, in place of both.
        epochs: passes over the training records; None: by a budget of residues, 2 to 30.
        learning_rate: peak rate; None: 0.001 from scratch, 0.0005 from trained weights.
        alphabet: "protein", "dna", "rna", "codon", or "auto" for proteins.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        settings: any other setting of :class:`seqtrain.config.FinetuneConfig`, such as
            {"loss": "focal", "sampling": "balanced"}.
        random_state: of everything random: an int, None, or a numpy RandomState.
        verbose: print what the training says.

    Attributes:
        classes_: (K,) the classes, sorted.
        run_files_: path -> bytes of the run directory that fitting left.
    """

    _kind = "classification"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SequenceClassifier:
        """Train on (N,) sequences with (N,) classes, and (N,) weights in the loss.

        Raises:
            ValueError: sequences, classes, weights or parameters that cannot be used.
        """
        check_classification_targets(y)
        labels = np.asarray(y)
        if labels.ndim != 1:
            raise ValueError(f"classes of shape {labels.shape}; give one class for each sequence")
        classes = np.unique(labels)
        names = [str(name) for name in classes.tolist()]
        if len(names) < 2:
            raise ValueError(f"{len(names)} class; a classifier needs at least two")
        if len(set(names)) < len(names):
            raise ValueError("two classes are written alike, such as 1 and '1'; give them different names")
        if odd := [name for name in names if not name or name != name.strip()]:
            raise ValueError(f"a class {odd[0]!r}; give it a name that neither begins nor ends with a blank")
        name_of = dict(zip(classes.tolist(), names, strict=True))
        self._fit(X, [[name_of[label]] for label in labels.tolist()], sample_weight)
        self.classes_ = classes
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(N,) sequences -> (N, K) probabilities, columns in the order of ``classes_``.

        Raises:
            ValueError: something that is not a sequence.
        """
        values = self._values(X)
        task = self._predictor.task
        column = {name: index for index, name in enumerate(getattr(task, "classes", ()))}
        return values[:, [column[str(name)] for name in self.classes_.tolist()]]

    def predict(self, X: Any) -> NDArray[Any]:
        """(N,) sequences -> (N,) the most probable classes, or those by the threshold in ``settings``.

        Raises:
            ValueError: something that is not a sequence.
        """
        values = self._values(X)
        task: Any = self._predictor.task
        place_of = {str(name): place for place, name in enumerate(self.classes_.tolist())}
        places = np.array([place_of[name] for name in task.classes])
        found: NDArray[Any] = self.classes_[places[task.decide(values)]]
        return found


class SequenceRegressor(RegressorMixin, _SequenceNetwork):  # type: ignore[misc]
    """Finetune a network that predicts one or several numbers: (N,) strings and (N,) or (N, K) numbers.

    Targets are standardised for the training, and predictions come in their units. nan in one of several columns is not
    learnt from. A tenth of the records is held out of the training, equal sequences together, to keep the weights that
    were best on them. Parameters and attributes are those of :class:`SequenceClassifier`, without ``classes_``.
    """

    _kind = "regression"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SequenceRegressor:
        """Train on (N,) sequences with (N,) or (N, K) numbers, and (N,) weights in the loss.

        Raises:
            ValueError: sequences, numbers, weights or parameters that cannot be used.
        """
        numbers = np.asarray(y, dtype=np.float64)
        if numbers.ndim not in (1, 2):
            raise ValueError(f"numbers of shape {numbers.shape}; give one row for each sequence")
        rows = numbers.reshape(len(numbers), -1)
        if np.isinf(rows).any() or np.isnan(rows).all(axis=1).any():
            raise ValueError("y holds infinity, or a row without any number; leave such records out")
        self._fit(X, [["" if value != value else repr(value) for value in row] for row in rows.tolist()], sample_weight)
        self._is_flat = numbers.ndim == 1
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """(N,) sequences -> (N,) numbers, or (N, K) where several were fitted.

        Raises:
            ValueError: something that is not a sequence.
        """
        values = self._values(X)
        return values[:, 0] if self._is_flat else values


class _Printing:
    """A listener for notebooks."""

    def say(self, text: str) -> None:
        print(text, flush=True)

    def step_done(self, report: Any, num_steps: int) -> None: ...

    def evaluated(self, step: int, num_steps: int, measures: dict[str, float]) -> None:
        shown = "  ".join(f"{name} {value:.3f}" for name, value in measures.items() if "[" not in name)
        print(f"step {step}/{num_steps}  held out: {shown}", flush=True)


def _seed(random_state: Any) -> int:
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(_SEEDS))


def _weights(sample_weight: Any, count: int) -> NDArray[np.float64]:
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (count,) or not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"sample_weight of shape {weights.shape}; give {count} finite numbers of at least 0")
    return weights
