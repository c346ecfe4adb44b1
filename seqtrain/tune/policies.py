"""Augmentation policies as knobs, and back from their values to the words of ``--augment``.

``rand`` is RandAugment (Cubuk et al. 2019, arXiv:1909.13719): so many operations for each sequence, drawn from all
there are, at one magnitude. ``auto`` is a policy of its own operations, each with its strength and probability, one
after the other, as a sub-policy of AutoAugment (Cubuk et al. 2018, arXiv:1805.09501) has them; theirs have two
operations and each image draws one of five, where ours is one of up to three for all. The search is that of the study,
and no controller that is trained by reinforcement.
"""

from __future__ import annotations

from collections.abc import Mapping

from seqtrain.tune.knobs import Choices, Knob, Range, Settings, Value, When, number

_MOST_OPERATIONS = 3
_FULL: dict[str, tuple[str, float]] = {
    "matrix-substitution": ("rate", 0.3),
    "model-substitution:model=jc69": ("time", 0.3),
    "synonymous-codons": ("rate", 1.0),
    "letter-dropout": ("rate", 0.3),
    "cutout": ("length", 30),
    "random-deletion": ("rate", 0.1),
    "random-insertion": ("rate", 0.1),
}
"""Operations, with the field that is their strength and what it is at full strength. The numbers are round ones of
ours: at full strength a protein of 100 letters has lost what tells it from its relatives."""
_MOVING = ("random-deletion", "random-insertion")
_OF_ALPHABET = {
    "protein": ("matrix-substitution",),
    "dna": ("model-substitution:model=jc69",),
    "rna": ("model-substitution:model=jc69",),
    "codon": ("synonymous-codons",),
}


def operations_for(alphabet: str, *, moving: bool) -> tuple[str, ...]:
    """The operations of an alphabet; ``moving``: also those after which letters are at other places."""
    more = ("letter-dropout", "cutout", *(_MOVING if moving and alphabet != "codon" else ()))
    return (*_OF_ALPHABET[alphabet], *more)


def policy_knobs(alphabet: str, *, moving: bool) -> list[Knob]:
    """The knobs of a policy: none, RandAugment, or operations of its own."""
    operations = operations_for(alphabet, moving=moving)
    rand, auto = (When(name="augment.policy", values=(kind,)) for kind in ("rand", "auto"))
    knobs: list[Knob] = [
        Choices(name="augment.policy", choices=("none", "rand", "auto")),
        Range(name="augment.rand.operations", low=1, high=_MOST_OPERATIONS, whole=True, when=rand),
        Range(name="augment.rand.magnitude", low=0.05, high=1, when=rand),
    ]
    if any(name in operations for name in _MOVING):
        knobs.append(Choices(name="augment.rand.indels", choices=(True, False), when=rand))
    knobs.append(Range(name="augment.auto.operations", low=1, high=_MOST_OPERATIONS, whole=True, when=auto))
    for number_ in range(1, _MOST_OPERATIONS + 1):
        counts = tuple(str(count) for count in range(number_, _MOST_OPERATIONS + 1))
        when = When(name="augment.auto.operations", values=counts)
        name = f"augment.auto.{number_}"
        knobs += [
            Choices(name=name, choices=operations, when=when),
            Range(name=f"{name}.strength", low=0.05, high=1, when=when),
            Range(name=f"{name}.probability", low=0.2, high=1, when=when),
        ]
    return knobs


POLICY_NAMES = tuple(
    dict.fromkeys(knob.name for alphabet in ("protein", "dna", "codon") for knob in policy_knobs(alphabet, moving=True))
)
"""The names that any of these knobs has."""


def policy_words(settings: Mapping[str, Value], alphabet: str, *, moving: bool) -> tuple[str, ...]:
    """The words of ``--augment`` that the knobs of a policy stand for; none where there is no policy."""
    policy = settings.get("augment.policy", "none")
    if policy == "rand":
        members = operations_for(alphabet, moving=moving and bool(settings.get("augment.rand.indels", True)))
        words = " | ".join(_words(member, 1.0) for member in members)
        count, magnitude = settings["augment.rand.operations"], settings["augment.rand.magnitude"]
        return (f"{count} of {words} at {number(_as_float(magnitude))}",)
    if policy != "auto":
        return ()
    chain = []
    for index in range(1, int(_as_float(settings["augment.auto.operations"])) + 1):
        name = f"augment.auto.{index}"
        operation = _words(str(settings[name]), _as_float(settings[f"{name}.strength"]))
        chain.append(f"{operation},probability={number(_as_float(settings[f'{name}.probability']))}")
    return tuple(chain)


def without_policy(settings: Settings) -> Settings:
    """The settings of everything else."""
    return {name: value for name, value in settings.items() if name not in POLICY_NAMES}


def _words(operation: str, strength: float) -> str:
    field, full = _FULL[operation]
    value: float = max(1, round(full * strength)) if field == "length" else full * strength
    return f"{operation}{',' if ':' in operation else ':'}{field}={number(value)}"


def _as_float(value: Value) -> float:
    assert isinstance(value, int | float)
    return float(value)
