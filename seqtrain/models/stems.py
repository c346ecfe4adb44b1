"""What the first layer sees of a sequence: features of each position, made from packed ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from seqtrain.errors import InputError
from seqtrain.models.checks import require_choice, require_whole
from seqtrain.models.embedding import TokenEmbedding

Input = Literal["tokens", "one-hot", "ngram"]

PROTEIN_RESIDUES = tuple(range(4, 24))
"""Ids of the 20 residues in the vocabulary of ESM-2 (Lin et al. 2023)."""
MOST_NGRAMS = 1_000_000
"""Rows of an embedding of n-grams beyond which something else was meant."""


@dataclass(frozen=True, kw_only=True)
class StemFields:
    """The fields that configs of networks with a choice of input share."""

    vocabulary_size: int = 33
    input: Input = "tokens"
    """tokens: a learned embedding of every id; one-hot: one fixed feature per residue; ngram: a learned embedding of
    the n residues around each position."""
    n: int = 3
    """Positions of an n-gram."""
    residue_ids: tuple[int, ...] = PROTEIN_RESIDUES
    """Ids of the A unambiguous letters, for one-hot and ngram."""

    def require_stem(self) -> None:
        """Refuse impossible values.

        Raises:
            InputError: names the field and what it may be.
        """
        owner = type(self).__name__
        require_whole(owner, "vocabulary_size", self.vocabulary_size, 1)
        require_choice(owner, "input", self.input, get_args(Input))
        require_whole(owner, "n", self.n, 1)
        for id_ in self.residue_ids:
            require_whole(owner, "residue_ids", id_, 0)
        if self.input == "tokens":
            return
        if not self.residue_ids or max(self.residue_ids) >= self.vocabulary_size:
            raise InputError(
                f"{owner}: residue_ids {self.residue_ids} are not ids below vocabulary_size {self.vocabulary_size}; "
                f"give those of the unambiguous letters"
            )
        rows = (len(self.residue_ids) + 1) ** self.n
        if self.input == "ngram" and rows > MOST_NGRAMS:
            raise InputError(f"{owner}: n is {self.n}, which gives {rows:,} n-grams; give a smaller n")


class TokenStem(nn.Module):
    """A learned vector per id."""

    def __init__(self, vocabulary_size: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.embedding = TokenEmbedding(vocabulary_size, width)
        nn.init.normal_(self.embedding.weight, std=1.0)

    def forward(self, inputs: Tensor, segments: Tensor) -> Tensor:
        """inputs (T,) or shares of ids (T, V), segments (T,) -> (T, D)"""
        rows: Tensor = self.embedding(inputs)
        return rows


class OneHotStem(nn.Module):
    """A 1 in the column of the residue; zeros for special tokens and for ambiguous and odd letters alike.

    That is what :class:`seqtrain.encode.OneHot` does: a column for X would be one more residue to a network.
    """

    columns: Tensor

    def __init__(self, vocabulary_size: int, residue_ids: tuple[int, ...]) -> None:
        super().__init__()
        self.width = len(residue_ids)
        self.register_buffer("columns", _digits(vocabulary_size, residue_ids))
        self.residues = list(residue_ids)

    def forward(self, inputs: Tensor, segments: Tensor) -> Tensor:
        """inputs (T,) or shares of ids (T, V), segments (T,) -> (T, A) float32"""
        if inputs.ndim > 1:
            return inputs[:, self.residues].float()
        every = torch.arange(self.width, device=inputs.device)
        return (self.columns[inputs][:, None] == every).float()


class NgramStem(nn.Module):
    """A learned vector per n-gram of residues; one n-gram per position, centred on it, and they overlap.

    Of an even n one position more lies after the centre than before it. Everything but a residue counts as one further
    letter: special tokens, ambiguous letters, and what lies beyond the ends of the sequence. So there are (A + 1)^n.
    """

    digits: Tensor

    def __init__(self, vocabulary_size: int, residue_ids: tuple[int, ...], n: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.base = len(residue_ids) + 1
        self.offsets = range(-((n - 1) // 2), n // 2 + 1)
        self.register_buffer("digits", _digits(vocabulary_size, residue_ids))
        self.embedding = nn.Embedding(self.base**n, width)
        nn.init.normal_(self.embedding.weight, std=1.0)

    def forward(self, inputs: Tensor, segments: Tensor) -> Tensor:
        """inputs (T,), segments (T,) -> (T, D)

        Raises:
            InputError: mixtures of ids, which have no n-grams.
        """
        if inputs.ndim > 1:
            raise InputError("input=ngram cannot be mixed; take input=tokens or input=one-hot, or leave the mixing out")
        rows: Tensor = self.embedding(self.words(inputs, segments))
        return rows

    def words(self, inputs: Tensor, segments: Tensor) -> Tensor:
        """inputs (T,), segments (T,) -> (T,) the index of the n-gram around each position, its first letter leading."""
        digits = self.digits[inputs]
        words = torch.zeros_like(digits)
        steps = torch.arange(inputs.shape[0], device=inputs.device)
        for offset in self.offsets:
            places = (steps + offset).clamp(0, inputs.shape[0] - 1)
            inside = (places == steps + offset) & (segments[places] == segments)
            words = words * self.base + torch.where(inside, digits[places], self.base - 1)
        return words


Stem = TokenStem | OneHotStem | NgramStem


def build_stem(fields: StemFields, width: int) -> Stem:
    """The stem that the fields ask for, with ``width`` features where they are learned; ``.width`` says how many."""
    if fields.input == "one-hot":
        return OneHotStem(fields.vocabulary_size, fields.residue_ids)
    if fields.input == "ngram":
        return NgramStem(fields.vocabulary_size, fields.residue_ids, fields.n, width)
    return TokenStem(fields.vocabulary_size, width)


def _digits(vocabulary_size: int, residue_ids: tuple[int, ...]) -> Tensor:
    """(V,) the place of each id among the A residues, and A for every other id."""
    digits = torch.full((vocabulary_size,), len(residue_ids))
    digits[torch.tensor(residue_ids)] = torch.arange(len(residue_ids))
    return digits
