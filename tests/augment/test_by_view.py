"""Each view has its own augmenter, with the draws of its own key, and letters keep their origins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from seqtrain.augment import MatrixSubstitution, RandomCrop, RandomDeletion, RandomInsertion
from seqtrain.augment.augmenter import Augmenter
from seqtrain.augment.by_view import ByView
from seqtrain.draws import Draws
from seqtrain.letters import PackedLetters
from tests.corpora import examples_of, proteins

TEXTS = proteins([12, 30, 7, 25], seed=4)
PACKED = PackedLetters.from_sequences([np.frombuffer(text.encode(), np.uint8) for text in TEXTS for _ in range(2)])
KEYS = np.arange(8) * 7919


@pytest.mark.parametrize("second", [MatrixSubstitution(rate=0.5), RandomInsertion(rate=0.4), RandomDeletion(rate=0.3)])
def test_each_view_is_what_its_augmenter_makes_of_it_alone(second: Augmenter) -> None:
    first = RandomCrop(10)
    both = ByView(first=first, second=second)(PACKED, Draws(KEYS))
    for number in range(8):
        own = PackedLetters.from_sequences([PACKED[number]])
        alone = (first, second)[number % 2](own, Draws(KEYS[number : number + 1]))
        assert both.packed[number].tobytes() == alone.packed[0].tobytes()
        part = slice(both.packed.boundaries[number], both.packed.boundaries[number + 1])
        expected = np.where(alone.origin < 0, -1, alone.origin + PACKED.boundaries[number])
        np.testing.assert_array_equal(both.origin[part], expected)
    kept = both.origin >= 0
    if not isinstance(second, MatrixSubstitution):
        np.testing.assert_array_equal(both.packed.letters[kept], PACKED.letters[both.origin[kept]])


def test_protected_letters_stay() -> None:
    protected = np.arange(len(PACKED.letters)) % 3 == 0
    view = ByView(first=RandomCrop(1000), second=MatrixSubstitution(rate=1.0))
    given = replace(PACKED, protected=protected)
    out = view(given, Draws(KEYS)).packed
    assert out.protected is not None
    np.testing.assert_array_equal(out.protected, protected)
    np.testing.assert_array_equal(out.letters[protected], PACKED.letters[protected])
    assert (out.letters != PACKED.letters).mean() > 0.2


def test_examples_come_as_they_are_and_augmented_whoever_their_neighbours_are() -> None:
    plain = examples_of(TEXTS)
    views = replace(plain, num_views=2, augmenter=ByView(first=RandomCrop(100), second=MatrixSubstitution(rate=0.5)))
    batch = views.batch(np.arange(4), np.full(4, 3))
    for number, text in enumerate(TEXTS):
        start, stop = batch.boundaries[2 * number].item(), batch.boundaries[2 * number + 1].item()
        assert bytes(batch.letters[start + 1 : stop - 1].tolist()).decode() == text
        alone = views.batch(np.array([number]), np.array([3]))
        assert alone.inputs.tolist() == batch.inputs[start : batch.boundaries[2 * number + 2]].tolist()
        assert alone.inputs[: len(alone.inputs) // 2].tolist() != alone.inputs[len(alone.inputs) // 2 :].tolist()


def test_what_is_no_pairs_is_refused() -> None:
    with pytest.raises(ValueError, match="num_views=2"):
        ByView(first=RandomCrop(9), second=RandomCrop(9))(PACKED.selected(np.arange(3))[0], Draws(KEYS[:3]))
