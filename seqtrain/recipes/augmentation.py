"""What happens to the letters of a training example before they are encoded."""

from __future__ import annotations

from collections.abc import Sequence

from seqtrain.alphabet import Alphabet
from seqtrain.augment import (
    Augmenter,
    Chain,
    RandomCrop,
    RandomDeletion,
    RandomInsertion,
    ReverseComplement,
    read_policy,
)
from seqtrain.augment.augmenter import with_members
from seqtrain.augment.policy import files_of_policy
from seqtrain.errors import InputError
from seqtrain.io.run_directory import sha256_of

Moving = RandomCrop | RandomDeletion | RandomInsertion | ReverseComplement
"""Augmenters after which letters are at other places than before."""


def training_augmenter(words: Sequence[str], alphabet: Alphabet, max_length: int, *, crop: bool) -> Augmenter | None:
    """What ``--augment`` asks for, then a crop to ``max_length`` letters; None where nothing is to be done.

    Raises:
        InputError: words that name no augmenter, or one that changes the alphabet.
    """
    if not words:
        return RandomCrop(max_length) if crop else None
    policy = read_policy(words, alphabet)
    if policy.output_alphabet is not None and policy.output_alphabet != alphabet:
        raise InputError(
            f"--augment {' --augment '.join(words)}: gives {policy.output_alphabet.name} letters, but the model reads "
            f"{alphabet.name}; write such copies with  seqtrain augment IN OUT --with …  and train on them"
        )
    # Cropped last, also where nothing was too long before: an insertion may have made it so.
    return Chain((policy, RandomCrop(max_length)))


def digests_of_words(words: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the files that the words of ``--augment`` name, such as those of profiles and matrices, by name."""
    return {f"augment {i + 1} {path.name}": sha256_of(path) for i, path in enumerate(files_of_policy(words))}


def moving_words(words: Sequence[str], alphabet: Alphabet) -> str | None:
    """The first of the words of ``--augment`` by which letters come to other places, if any does."""
    for word in words:
        if any(isinstance(member, Moving) for member in with_members(read_policy((word,), alphabet))):
            return word
    return None
