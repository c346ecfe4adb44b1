"""Hidden states of a body that does not change, computed once: for a head that learns from them, and to choose by."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seqtrain.batching import Examples
from seqtrain.errors import InputError
from seqtrain.features import (
    FeatureExamples,
    FixedPooling,
    body_digest,
    feature_outputs,
    fixed_pooling,
    pooled_features,
    record_features,
)
from seqtrain.fitting import Listener, Training
from seqtrain.freezing import Body
from seqtrain.inference import InferenceConfig
from seqtrain.io.delimited import write_table
from seqtrain.io.kept_arrays import Arrays, kept_arrays
from seqtrain.io.ledger import HEADER
from seqtrain.io.splits import VALID
from seqtrain.models.network import Network
from seqtrain.objectives import Supervised
from seqtrain.recipes.finetuning import FinetuningJob
from seqtrain.recipes.held_out import measures_of
from seqtrain.recipes.resampling import classes_of, obstacle_to_features, resampling_of
from seqtrain.recipes.training_examples import labeled_examples
from seqtrain.recipes.transfer import freezing_of
from seqtrain.resampling import Points, Resampling
from seqtrain.spans import Spans
from seqtrain.tasks import Classification

_FOLDER = "features"
_TABLE = "resampling.csv"
_SHOWN_CLASSES = 12
_SAID_EVERY_SECONDS = 30


def with_features(job: FinetuningJob, output: Path, listener: Listener) -> Training:
    """The training on hidden states that are computed once, where that is the same, and on resampled records.

    What is computed is kept in the run directory. Where the body is trained, or its hidden states cannot be computed
    once, hidden states serve to choose records only, and the training goes through the body.

    Raises:
        InputError: a teacher that has to see sequences, where points without any would be made.
        RunError: the disk is full.
    """
    config, training = job.config, job.training
    network = training.network
    resampling, frozen = resampling_of(config), isinstance(freezing_of(config), Body)
    if (resampling is None and not frozen) or not training.num_steps:
        return training
    assert isinstance(network, Network)
    obstacle = obstacle_to_features(config, job.data.task, network, training.examples)
    if not isinstance(training.objective, Supervised):
        obstacle = "a teacher sees the sequences themselves"
        if resampling is not None:
            raise InputError(f"--resample {config.resample}: is for finetuning, and {obstacle}; leave it out")
    once = frozen and obstacle is None
    if frozen and obstacle is not None:
        listener.say(f"every step runs the frozen body, as {obstacle}")
    if resampling is None and not once:
        return training
    work = _Work(job, network, resampling, once, listener)
    arrays, found = kept_arrays(output / _FOLDER, work.digest, work.compute)
    listener.say(f"hidden states: {'as computed before' if found else 'computed once'}, in {output / _FOLDER}")
    points = None
    if resampling is not None:
        points = Points(arrays["kept"], arrays["made"], arrays["made_classes"])
        _write_counts(job, points, output, listener)
    return _on_features(job, network, arrays, points) if once else _on_chosen(job, points)


def computed_once(job: FinetuningJob) -> bool:
    """Whether hidden states are computed once for the whole training, as :func:`with_features` would."""
    network, frozen = job.training.network, isinstance(freezing_of(job.config), Body)
    assert isinstance(network, Network)
    return frozen and obstacle_to_features(job.config, job.data.task, network, job.training.examples) is None


def _on_features(job: FinetuningJob, network: Network, arrays: Arrays, points: Points | None) -> Training:
    """The training of the head on features, its validation records as features, too."""
    training, data = job.training, job.data
    examples = FeatureExamples.of(training.examples, arrays["train"])
    if points is not None:
        examples = examples.with_points(_records(job)[points.kept], points.made, points.made_classes)
    loop = replace(training.loop, name_of=lambda record: "a made point" if record < 0 else data.store.name(record))
    training = replace(training, examples=examples, loop=loop)
    valid = data.split.indices(VALID)
    if not len(valid):
        return training
    spans = _plain(job, valid).spans
    config = InferenceConfig(device=loop.device, precision=loop.precision)

    def evaluate() -> dict[str, float]:
        return measures_of(data, feature_outputs(network, arrays["valid"], spans, len(data.store), config), valid)

    return replace(training, evaluate=evaluate)


def _on_chosen(job: FinetuningJob, points: Points | None) -> Training:
    """The training of the whole network on some of the records."""
    assert points is not None
    training = job.training
    spans = training.examples.spans
    stay = np.isin(spans.records, _records(job)[points.kept])
    return replace(training, examples=replace(training.examples, spans=spans.chosen(stay)))


def _records(job: FinetuningJob) -> NDArray[np.int64]:
    """(n,) records that are trained on, increasing."""
    return np.unique(job.training.examples.spans.records)


def _plain(job: FinetuningJob, records: NDArray[np.int64]) -> Examples:
    """Records in windows, as they are for inference."""
    return labeled_examples(job.config, job.data, records)


class _Work:
    """What is to be computed, from what, and how."""

    def __init__(
        self, job: FinetuningJob, network: Network, resampling: Resampling | None, once: bool, listener: Listener
    ) -> None:
        self.job = job
        self.network = network
        self.resampling = resampling
        self.once = once
        self.listener = listener
        # What serves only to choose by is pooled as embeddings are.
        pooling: FixedPooling | None = fixed_pooling(network.head) if once else "mean"
        assert pooling is not None
        self.pooling = pooling
        self.train = _plain(job, _records(job))
        self.valid = _plain(job, job.data.split.indices(VALID))

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides what is computed."""
        loop, config = self.job.training.loop, self.job.config
        digest = hashlib.sha256()
        said = (body_digest(self.network), self.pooling, self.once, config.resample, loop.seed, loop.precision)
        digest.update(repr(said).encode())
        store, data = self.job.data.store, self.job.data
        spans: list[Spans] = [self.train.spans, *([self.valid.spans] if self.once else [])]
        for each in spans:
            digest.update(np.stack([each.records, each.starts, each.stops, each.own_starts, each.own_stops]).tobytes())
            for record in np.unique(each.records).tolist():
                digest.update(store[record].tobytes())
        digest.update(np.ascontiguousarray(data.targets[_records(self.job)]).tobytes())
        return digest.hexdigest()

    def compute(self) -> Arrays:
        """Features of the training records, and of the validation records where the head is trained on them."""
        arrays: Arrays = {}
        train = self._features(self.train, "training")
        if self.once:
            arrays["train"] = train
            arrays["valid"] = self._features(self.valid, "validation") if len(self.valid) else train[:0]
        if self.resampling is not None:
            classes = classes_of(self.job.data, self.job.training.examples)[1]
            vectors = record_features(train, self.train.spans, self.pooling)
            try:
                points = self.resampling(vectors, classes, self.job.training.loop.seed)
            except InputError as error:
                raise InputError(f"--resample {self.job.config.resample}: {error}") from None
            arrays |= {"kept": points.kept, "made": points.made, "made_classes": points.made_classes}
        return arrays

    def _features(self, examples: Examples, what: str) -> NDArray[np.float32]:
        self.listener.say(f"computing the hidden states of {len(np.unique(examples.spans.records)):,} {what} records")
        loop = self.job.training.loop
        config = InferenceConfig(device=loop.device, precision=loop.precision)
        return pooled_features(self.network, examples, self.pooling, config, _telling(self.listener))


def _telling(listener: Listener) -> Callable[[int, int], None]:
    """Says now and then how far a long computation is."""
    said_at = time.monotonic()

    def report(done: int, of: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at > _SAID_EVERY_SECONDS:
            said_at = time.monotonic()
            listener.say(f"{done:,} of {of:,}")

    return report


def _write_counts(job: FinetuningJob, points: Points, output: Path, listener: Listener) -> None:
    """The classes before and after: said, in the run as a table, and in its ledger."""
    task = job.data.task
    assert isinstance(task, Classification)
    records, classes = classes_of(job.data, job.training.examples)
    counts = {name: each.tolist() for name, each in points.counts(classes, task.outputs).items()}
    write_table(output / _TABLE, ("class", *counts), zip(task.classes, *counts.values(), strict=True))
    said, ledger = f"--resample {job.config.resample}", job.given.ledger
    gone = np.setdiff1d(np.arange(len(records)), points.kept)
    for number, name in enumerate(task.classes):
        if counts["removed"][number]:
            letters = int(job.data.store.lengths[records[gone[classes[gone] == number]]].sum())
            ledger.add(said, "left out", f"class {name}", records=counts["removed"][number], letters=letters)
        if counts["made"][number]:
            ledger.add(said, "made", f"class {name}", records=counts["made"][number])
    write_table(output / "ledger.csv", HEADER, ledger.rows())
    shown = [
        f"{name} {before:,} → {after:,}"
        for name, before, after in zip(task.classes, counts["before"], counts["after"], strict=True)
    ]
    more = f" and {len(shown) - _SHOWN_CLASSES} more" if len(shown) > _SHOWN_CLASSES else ""
    listener.say(f"classes in training: {', '.join(shown[:_SHOWN_CLASSES])}{more}; see {output / _TABLE}")
