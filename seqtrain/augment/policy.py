"""Augmenters from words, for commands and configuration files.

matrix-substitution:rate=0.1                        one augmenter, with the fields of its class
matrix-substitution:rate=0.1,matrix=PAM250          more of them
letter-dropout:rate=0.2,probability=0.5             applied to half of the sequences
cutout:length=9 | letter-dropout:rate=0.1           one of several for each sequence
2 of cutout:length=9 | letter-dropout:rate=0.4 at 0.5    RandAugment: how many, of what, at what magnitude
[several words]                                     one after the other
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from seqtrain.alphabet import ALPHABETS, Alphabet
from seqtrain.augment.augmenter import Augmenter, check_fraction
from seqtrain.augment.codons import BackTranslation, Recoding, SynonymousCodons
from seqtrain.augment.compose import Chain, OneOf, RandAugment, Scalable
from seqtrain.augment.crop import RandomCrop
from seqtrain.augment.cutout import Cutout, LetterDropout
from seqtrain.augment.indels import RandomDeletion, RandomInsertion
from seqtrain.augment.profile_substitution import ProfileSubstitution
from seqtrain.augment.profile_table import Profile
from seqtrain.augment.published_models import (
    dayhoff,
    dayhoff_dcmut,
    f81,
    gtr,
    hky85,
    jc69,
    jtt,
    jtt_dcmut,
    k80,
    lg,
    tn93,
    wag,
)
from seqtrain.augment.rate_model import SubstitutionModel, read_paml
from seqtrain.augment.reduced_alphabet import (
    ReducedAlphabet,
    read_reduced_alphabets,
    reduced_alphabet,
)
from seqtrain.augment.reduction import GroupSubstitution, Reletter
from seqtrain.augment.reverse_complement import ReverseComplement
from seqtrain.augment.substitution import MatrixSubstitution, ModelSubstitution
from seqtrain.codon_usage import CodonUsage
from seqtrain.codon_usage_files import codon_usage, read_codon_usage
from seqtrain.errors import InputError
from seqtrain.genetic_code import GeneticCode, genetic_code
from seqtrain.words import names_of, number, read_words

Named = (
    MatrixSubstitution
    | ModelSubstitution
    | GroupSubstitution
    | Reletter
    | ProfileSubstitution
    | BackTranslation
    | Recoding
    | SynonymousCodons
    | RandomCrop
    | Cutout
    | LetterDropout
    | RandomDeletion
    | RandomInsertion
    | ReverseComplement
)
"""The augmenters that words can name."""


NAMES = names_of(Named)


def read_policy(words: Sequence[str], alphabet: Alphabet) -> Augmenter:
    """One augmenter, a chain where there are several words; the alphabet is that of the sequences that go in.

    Raises:
        InputError: a name, field or value that does not fit; a chain whose alphabets do not fit.
    """
    members: list[Augmenter] = []
    for word in words:
        members.append(_element(word, alphabet))
        alphabet = members[-1].output_alphabet or alphabet
    try:
        chain = Chain(tuple(members))
    except ValueError as error:
        raise InputError(str(error)) from None
    return members[0] if len(members) == 1 else chain


def files_of_policy(words: Sequence[str]) -> list[Path]:
    """The files that words of a policy name, such as matrices and profiles, each once."""
    found = []
    for word in words:
        for member in _choices(word)[1]:
            values = [part.partition("=")[2].strip() for part in member.partition(":")[2].split(",")]
            found += [Path(value) for value in values if value and Path(value).is_file()]
    return list(dict.fromkeys(found))


def _choices(word: str) -> tuple[re.Match[str] | None, list[str]]:
    """What "N of … at M" matches, if the word is such, and the words of each augmenter."""
    several = re.fullmatch(r"\s*(\d+)\s+of\s+(.+?)\s+at\s+(\S+)\s*", word)
    return several, [part.strip() for part in (several[2] if several else word).split("|")]


def _element(word: str, alphabet: Alphabet) -> Augmenter:
    several, choices = _choices(word)
    members = [_member(choice, alphabet) for choice in choices]
    fixed = [type(member).__name__ for member in members if not hasattr(member, "scaled")]
    if several and fixed:
        raise InputError(f"{word!r}: {fixed[0]} has no strength that a magnitude could scale; leave it out")
    try:
        if several:
            return RandAugment(
                tuple(cast(Scalable, member) for member in members),
                num_operations=int(several[1]),
                magnitude=number("magnitude", several[3]),
            )
        return members[0] if len(members) == 1 else OneOf(tuple(members))
    except ValueError as error:
        raise InputError(f"{word!r}: {error}") from None


def _member(word: str, alphabet: Alphabet) -> Augmenter:
    """One augmenter with its fields, and a probability for those that have none of their own."""
    readers = _READERS | {
        SubstitutionModel: partial(_model, alphabet=alphabet),
        Profile: partial(_profile, alphabet=alphabet),
    }
    member, left = read_words(
        word, Named, "augmenter", readers=readers, given={"alphabet": alphabet}, also=("probability",)
    )
    if member.input_alphabet is not None and member.input_alphabet != alphabet:
        raise InputError(f"{word}: takes {member.input_alphabet.name} letters, and these are {alphabet.name}")
    if not left:
        return cast(Augmenter, member)
    try:
        probability = number("probability", left["probability"])
        check_fraction("probability", probability)
        return OneOf((member,), (probability,))
    except ValueError as error:
        raise InputError(f"{word}: {error}") from None


def _reduced(text: str) -> ReducedAlphabet:
    """A name that ships, a file, or the groups themselves between slashes."""
    if "/" in text and not Path(text).exists():
        return ReducedAlphabet(text, tuple(text.upper().split("/")))
    if Path(text).is_file():
        return read_reduced_alphabets(text)[0]
    return reduced_alphabet(text)


def _usage(text: str) -> CodonUsage:
    return read_codon_usage(text) if Path(text).is_file() else codon_usage(text)


def _profile(text: str, alphabet: Alphabet) -> Profile:
    if Path(text).suffix.lower() == ".hmm":
        return Profile.from_hmm(text)
    return Profile.from_file(text, alphabet=alphabet)


_MODELS: dict[str, Callable[[], SubstitutionModel]] = {
    "jtt-dcmut": jtt_dcmut, "dayhoff-dcmut": dayhoff_dcmut,
    "jtt": jtt, "wag": wag, "lg": lg, "dayhoff": dayhoff, "jc69": jc69,
}  # fmt: skip
_MODELS_WITH_NUMBERS: dict[str, tuple[int, Callable[[list[float]], SubstitutionModel]]] = {
    "k80": (1, lambda numbers: k80(numbers[0])),
    "f81": (4, f81),
    "hky85": (5, lambda numbers: hky85(numbers[0], numbers[1:])),
    "tn93": (6, lambda numbers: tn93(numbers[0], numbers[1], numbers[2:])),
    "gtr": (10, lambda numbers: gtr(numbers[:6], numbers[6:])),
}


def _model(text: str, alphabet: Alphabet) -> SubstitutionModel:
    """A model over the letters of the alphabet, where U stands for T."""
    model = _named_model(text)
    return model.reordered(alphabet.standard) if alphabet.name == "rna" and "T" in model.letters else model


def _named_model(text: str) -> SubstitutionModel:
    """``lg``; ``k80/2`` and other nucleotide models with their numbers; or a PAML file."""
    if Path(text).is_file():
        return read_paml(text)
    name, *numbers = text.lower().split("/")
    if name in _MODELS and not numbers:
        return _MODELS[name]()
    if name in _MODELS_WITH_NUMBERS:
        count, make = _MODELS_WITH_NUMBERS[name]
        if len(numbers) == count:
            return make([number(name, text) for text in numbers])
        raise InputError(f"{text!r} has {len(numbers)} numbers; {name} takes {count}, written {name}/…/…")
    raise InputError(
        f"no model and no file is called {text!r}; choose from {', '.join([*_MODELS, *_MODELS_WITH_NUMBERS])}"
    )


def _alphabet(text: str) -> Alphabet:
    if text not in ALPHABETS:
        raise InputError(f"no alphabet is called {text!r}; choose from {', '.join(ALPHABETS)}")
    return ALPHABETS[text]


_READERS: dict[Any, Callable[[str], Any]] = {
    Alphabet: _alphabet,
    ReducedAlphabet: _reduced,
    CodonUsage: _usage,
    GeneticCode: genetic_code,
}
