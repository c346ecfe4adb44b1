"""Objectives: what a model is asked to do with a batch."""

from seqtrain.objectives.adversarial import Adversarial, Attack, unattacked
from seqtrain.objectives.distillation import Distillation
from seqtrain.objectives.masked_autoencoder import MaskedAutoencoder
from seqtrain.objectives.masked_lm import MaskedLM
from seqtrain.objectives.nnclr import NNCLR
from seqtrain.objectives.objective import Changing, Judged, Objective, Score
from seqtrain.objectives.pretext import Pretext
from seqtrain.objectives.sim_clr import SimCLR
from seqtrain.objectives.sim_siam import SimSiam
from seqtrain.objectives.span_masking import SpanMasking
from seqtrain.objectives.supervised import Supervised

Contrastive = SimCLR | NNCLR | SimSiam
"""Objectives that compare two views of every sequence."""
SelfSupervised = MaskedLM | SpanMasking | MaskedAutoencoder | Pretext | Contrastive
"""What can be asked of sequences without labels: each has ``num_views``, of every example in a step, and
``predicts_letters``, whether its loss is the cross-entropy of hidden letters."""

__all__ = [
    "NNCLR",
    "Adversarial",
    "Attack",
    "Changing",
    "Contrastive",
    "Distillation",
    "Judged",
    "MaskedAutoencoder",
    "MaskedLM",
    "Objective",
    "Pretext",
    "Score",
    "SelfSupervised",
    "SimCLR",
    "SimSiam",
    "SpanMasking",
    "Supervised",
    "unattacked",
]
