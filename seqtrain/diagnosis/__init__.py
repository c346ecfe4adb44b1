"""Diagnosis of a training in words: each check is a function of a network, an objective and a batch, or of arrays."""

from seqtrain.diagnosis.curves import Curves, Gain, judge_capacity, judge_fit, judge_learning, judge_rate
from seqtrain.diagnosis.finiteness import not_finite
from seqtrain.diagnosis.first_loss import first_loss
from seqtrain.diagnosis.gradient_check import GradientCheck, gradient_check, judge_gradients
from seqtrain.diagnosis.guesses import best_constant
from seqtrain.diagnosis.initial_weights import frozen_parameters, initial_weights
from seqtrain.diagnosis.labels import labels_of_residues, labels_of_sequences
from seqtrain.diagnosis.leaks import duplicates, leaking_labels
from seqtrain.diagnosis.masks import hidden_letters, masked_residues
from seqtrain.diagnosis.neighbours import neighbours
from seqtrain.diagnosis.order import order_of_examples
from seqtrain.diagnosis.overfitting_one_batch import Memorised, judge_memory, overfit_one_batch
from seqtrain.diagnosis.remarks import Remark
from seqtrain.diagnosis.units import Units, judge_units, look_at_units
from seqtrain.diagnosis.updates import Watch, judge_updates

__all__ = [
    "Curves",
    "Gain",
    "GradientCheck",
    "Memorised",
    "Remark",
    "Units",
    "Watch",
    "best_constant",
    "duplicates",
    "first_loss",
    "frozen_parameters",
    "gradient_check",
    "hidden_letters",
    "initial_weights",
    "judge_capacity",
    "judge_fit",
    "judge_gradients",
    "judge_learning",
    "judge_memory",
    "judge_rate",
    "judge_units",
    "judge_updates",
    "labels_of_residues",
    "labels_of_sequences",
    "leaking_labels",
    "look_at_units",
    "masked_residues",
    "neighbours",
    "not_finite",
    "order_of_examples",
    "overfit_one_batch",
]
