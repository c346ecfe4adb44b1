"""Generated proteins with relatives of known identity."""

from __future__ import annotations

import numpy as np

from seqtrain.alphabet import PROTEIN
from seqtrain.letters import PackedLetters
from seqtrain.texts import pack_texts


def proteins(count: int, lengths: tuple[int, int], seed: int = 0) -> list[str]:
    """Random proteins with lengths in a range."""
    draws = np.random.default_rng(seed)
    sizes = draws.integers(*lengths, count)
    return ["".join(draws.choice(list(PROTEIN.standard), size)) for size in sizes]


def mutated(text: str, identity: float, seed: int, *, gaps: int = 0) -> str:
    """A copy in which this share of letters is kept, with some letters left out and put in."""
    draws = np.random.default_rng(seed)
    letters = list(text)
    for place in draws.permutation(len(letters))[: round((1 - identity) * len(letters))]:
        letters[place] = draws.choice([letter for letter in PROTEIN.standard if letter != letters[place]])
    for _ in range(gaps):
        place = int(draws.integers(5, len(letters) - 5))
        if draws.random() < 0.5:
            del letters[place : place + int(draws.integers(1, 4))]
        else:
            letters[place:place] = list(draws.choice(list(PROTEIN.standard), int(draws.integers(1, 4))))
    return "".join(letters)


def packed(texts: list[str]) -> PackedLetters:
    return pack_texts(PROTEIN, texts)
