"""Two views of every sequence, each with an augmenter of its own: one nearly as it stands, the other changed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from seqtrain.alphabet import Alphabet
from seqtrain.augment.augmenter import Augmented, Augmenter
from seqtrain.draws import Draws
from seqtrain.letters import PackedLetters


@dataclass(frozen=True, kw_only=True)
class ByView:
    """Augments the first, third … sequence of a batch in one way, and the second, fourth … in another.

    For batches that hold two views of each example one behind the other (``Examples.num_views``). Both augmenters leave
    the alphabet as it is.
    """

    first: Augmenter
    second: Augmenter

    @property
    def input_alphabet(self) -> Alphabet | None:
        """That of the second views."""
        return self.second.input_alphabet

    @property
    def output_alphabet(self) -> Alphabet | None:
        """That of the second views."""
        return self.second.output_alphabet

    @property
    def members(self) -> tuple[Augmenter, ...]:
        """Both."""
        return self.first, self.second

    def __call__(self, packed: PackedLetters, draws: Draws) -> Augmented:
        """Augment 2 B sequences, two views of each example one behind the other, with the draws of their keys.

        Raises:
            ValueError: an odd number of sequences.
        """
        if len(packed) % 2:
            raise ValueError(f"{len(packed)} sequences are no pairs of views; set num_views=2 in the examples")
        arrays = packed.arrays
        pairs = arrays.arange(len(packed) // 2)
        parts, origins = [], []
        for view, augmenter in enumerate((self.first, self.second)):
            own, place = packed.selected(2 * pairs + view)
            augmented = augmenter(own, Draws(draws.keys[view::2]))
            parts.append(augmented.packed)
            inserted = augmented.origin < 0
            # An index of -1 reads some letter or other; it is put right here.
            origins.append(arrays.where(inserted, augmented.origin, place[augmented.origin] if len(place) else place))
        # All first views and then all second ones, from which they are taken in turns.
        start = len(parts[0].letters)
        boundaries = arrays.concatenate((parts[0].boundaries[:-1], start + parts[1].boundaries))
        letters = arrays.concatenate([part.letters for part in parts])
        in_turns = arrays.arange(len(packed)) // 2 + (arrays.arange(len(packed)) % 2) * len(pairs)
        protected = [part.protected for part in parts if part.protected is not None]
        together = replace(
            packed,
            letters=letters,
            boundaries=boundaries,
            protected=arrays.concatenate(protected) if len(protected) == len(parts) else None,
        )
        out, place = together.selected(in_turns)
        return Augmented(out, arrays.concatenate(origins)[place])
