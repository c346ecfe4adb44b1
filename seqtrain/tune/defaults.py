"""What is varied out of the box: by model, and by whether there are trained weights to start from.

The ranges are those in which people look: a decade or more around the rates that ``docs/models.md`` and
``docs/transfer.md`` found to work. They are a start; ``--vary`` replaces any of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from seqtrain.errors import InputError
from seqtrain.tune.knobs import Choices, Knob, Range, When
from seqtrain.tune.policies import policy_knobs

SEARCHES = ("settings", "architecture", "augmentation", "none")
_CONVOLVING = ("cnn", "residual-cnn", "u-net")
_ATTENDING = ("transformer", "gated-transformer")


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What decides which settings are worth varying."""

    pretrained: bool
    """Whether there are trained weights to start from."""
    models: tuple[str, ...]
    """The networks from scratch that are in question."""
    epochs: int | None
    """That a finetuning takes where nobody says; None: its budget is given in steps."""
    tokens_per_step: int
    per_residue: bool
    alphabet: str
    moving: bool
    """Whether letters may come to other places."""
    has_peft: bool
    """Whether low-rank adapters can be trained."""


def default_knobs(searches: tuple[str, ...], situation: Situation) -> list[Knob]:
    """The knobs of some kinds of search together.

    Raises:
        InputError: an unknown kind, or the architecture of a network that is trained already.
    """
    knobs: list[Knob] = []
    for search in searches or ("settings",):
        if search not in SEARCHES:
            raise InputError(f"--search {search}: choose from {', '.join(SEARCHES)}")
        if search == "architecture" and situation.pretrained:
            raise InputError("--search architecture: the architecture is that of --from; leave one of the two out")
        if search == "settings":
            knobs += pretrained_knobs(situation) if situation.pretrained else fresh_knobs(situation)
        elif search == "architecture":
            knobs += architecture_knobs(situation)
        elif search == "augmentation":
            knobs += policy_knobs(situation.alphabet, moving=situation.moving)
    return knobs


def fresh_knobs(situation: Situation) -> list[Knob]:
    """The settings of a training from scratch."""
    tokens = situation.tokens_per_step
    knobs: list[Knob] = [
        _rate(situation.models),
        Range(name="dropout", low=0.0, high=0.4),
        Range(name="weight_decay", low=1e-3, high=0.3, log=True),
        Choices(name="tokens_per_step", choices=(max(1, tokens // 2), tokens, 2 * tokens)),
    ]
    if any(model in _CONVOLVING for model in situation.models):
        when = When(name="model", values=_CONVOLVING)
        knobs.append(Range(name="model.kernel_size", low=3, high=9, step=2, whole=True, when=when))
    return knobs + _epochs(situation)


def pretrained_knobs(situation: Situation) -> list[Knob]:
    """The settings of a training that starts from trained weights."""
    trains = When(name="freeze", values=("none", "gradual", "embeddings", "lowest"))
    knobs: list[Knob] = [
        Choices(name="freeze", choices=(None, "gradual:until=0.5", "body")),
        Range(name="learning_rate", low=3e-5, high=2e-3, log=True, when=trains),
        Range(name="head_learning_rate", low=1e-4, high=1e-2, log=True),
        Range(name="layer_decay", low=0.6, high=1.0, when=trains),
        Range(name="dropout", low=0.0, high=0.4),
        Range(name="weight_decay", low=1e-3, high=0.3, log=True),
    ]
    if situation.has_peft:
        knobs.append(
            Choices(name="lora", choices=(None, "rank=4", "rank=16"), when=When(name="freeze", values=("none",)))
        )
    return knobs + _epochs(situation)


def architecture_knobs(situation: Situation) -> list[Knob]:
    """The shape of a network: of convolutional blocks where nobody asks for another kind, and of its head."""

    def where(*models: str) -> When:
        return When(name="model", values=models)

    knobs: list[Knob] = [
        Choices(name="model", choices=("cnn", "residual-cnn")),
        Range(name="model.depth", low=2, high=8, whole=True, when=where("cnn", "residual-cnn", *_ATTENDING)),
        Choices(name="model.width", choices=(32, 64, 96, 128, 192)),
        Choices(name="model.kernel_size", choices=(3, 5, 7, 9, 11), when=where(*_CONVOLVING)),
        Choices(name="model.dilations", choices=("1", "1/2/4", "1/2/4/8/16"), when=where("cnn", "residual-cnn")),
        Choices(name="model.activation", choices=("relu", "gelu", "silu", "elu"), when=where(*_CONVOLVING)),
        # Neither batch norm nor batch renorm: the gradient of a step would depend on how it is cut into microbatches.
        Choices(name="model.norm", choices=("layer", "rms", "group"), when=where(*_CONVOLVING)),
        Range(name="model.stages", low=1, high=2, whole=True, when=where("residual-cnn")),
        Range(name="model.growth", low=1.0, high=2.0, when=where("residual-cnn")),
        Range(name="model.levels", low=1, high=3, whole=True, when=where("u-net")),
        Choices(name="model.num_heads", choices=(2, 4, 8), when=where(*_ATTENDING)),
        _rate(("cnn",)),
        Range(name="dropout", low=0.0, high=0.4),
    ]
    if situation.per_residue:
        return knobs
    pooled, light = (When(name="head", values=(name,)) for name in ("pooled-head", "light-attention-head"))
    return [
        *knobs,
        Choices(name="head", choices=("pooled-head", "light-attention-head")),
        Choices(name="head.pooling", choices=("all", "mean", "max", "attention"), when=pooled),
        Choices(name="head.kernel_size", choices=(3, 5, 9), when=light),
    ]


def _rate(models: tuple[str, ...]) -> Range:
    """Learning rates: convolutional networks take larger ones than transformers."""
    low = min(1e-4 if model in _ATTENDING else 3e-4 for model in models)
    high = max(3e-3 if model in _ATTENDING else 1e-2 for model in models)
    return Range(name="learning_rate", low=low, high=high, log=True)


def _epochs(situation: Situation) -> list[Knob]:
    """Up to as many as a finetuning takes by itself, so that no trial takes longer than that."""
    if situation.epochs is None or situation.epochs < 3:
        return []
    low = max(1, situation.epochs // 4)
    return [Range(name="epochs", low=low, high=situation.epochs, log=True, whole=True)]
