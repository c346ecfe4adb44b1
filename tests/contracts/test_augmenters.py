"""What holds for every augmenter. A new one joins by a line in ``MEMBERS``."""

from __future__ import annotations

from dataclasses import dataclass, is_dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import seqtrain.augment
from seqtrain.alphabet import CODON, CODONS, DNA, PROTEIN, RNA, UNKNOWN_CODON, Alphabet
from seqtrain.augment import (
    Augmenter,
    BackTranslation,
    Chain,
    Cutout,
    GroupSubstitution,
    LetterDropout,
    MatrixSubstitution,
    ModelSubstitution,
    OneOf,
    Profile,
    ProfileSubstitution,
    RandAugment,
    RandomCrop,
    RandomDeletion,
    RandomInsertion,
    Recoding,
    Reletter,
    ReverseComplement,
    SynonymousCodons,
    augment,
    hky85,
    keyed,
    lg,
    reduced_alphabet,
)
from seqtrain.augment.augmenter import with_members
from seqtrain.codon_usage_files import codon_usage
from seqtrain.draws import Draws
from seqtrain.genetic_code import genetic_code
from seqtrain.letters import PackedLetters
from seqtrain.recipes.augmentation import Moving
from tests.other_process import there_and_back

SETTINGS = settings(max_examples=25, derandomize=True, database=None, deadline=None)


@dataclass(frozen=True)
class Member:
    """An augmenter and what is particular to it."""

    augmenter: Augmenter
    alphabet: Alphabet = PROTEIN
    """Of the sequences that it is tried on."""
    at_rest: Augmenter | None = None
    """The same at a strength at which it is the identity, where ``scaled(0)`` is not that."""
    leaves_odd: bool = False
    """Whether odd letters and stop codons stay as they are, where they are."""
    is_random: bool = True
    length: int | None = None
    """The only length of sequence that it takes; None: any."""

    @cached_property
    def identity(self) -> Augmenter | None:
        """The same at a strength at which it is the identity; None if it has no strength."""
        return self.augmenter.scaled(0) if hasattr(self.augmenter, "scaled") else self.at_rest


MURPHY = reduced_alphabet("murphy10")
COLI, HUMAN = codon_usage("e_coli"), codon_usage("h_sapiens")
HKY = hky85(2, (0.1, 0.2, 0.3, 0.4))
SENSE = tuple(np.where(genetic_code(1).stops, 0, 1 / 61).tolist())
PROFILE = Profile(name="made up", probabilities=np.random.default_rng(1).dirichlet(np.full(20, 0.3), size=9))
BLOSUM, DROPOUT = MatrixSubstitution(rate=0.5), LetterDropout(rate=0.5)
DELETION, INSERTION = RandomDeletion(rate=0.3, mean_length=2), RandomInsertion(rate=0.5, mean_length=2)
LOST, GROWN = RandomDeletion(rate=0.2), RandomInsertion(rate=0.4)
TURNED = ReverseComplement(probability=0.5)

MEMBERS: dict[str, Member] = {
    "matrix": Member(BLOSUM, leaves_odd=True),
    "matrix of bases": Member(MatrixSubstitution(matrix="NUC.4.4", rate=0.5, alphabet=DNA), DNA, leaves_odd=True),
    "matrix of RNA": Member(MatrixSubstitution(matrix="BLASTN", rate=1, alphabet=RNA), RNA, leaves_odd=True),
    "matrix of codons": Member(
        MatrixSubstitution(matrix="SCHNEIDER", rate=0.5, alphabet=CODON), CODON, leaves_odd=True
    ),
    "model": Member(ModelSubstitution(model=lg(), time=0.7), leaves_odd=True),
    "model of bases": Member(ModelSubstitution(model=HKY, time=0.7), DNA, leaves_odd=True),
    "model of RNA": Member(ModelSubstitution(model=HKY.reordered("ACGU"), time=0.7), RNA, leaves_odd=True),
    "profile": Member(ProfileSubstitution(profile=PROFILE, rate=0.7), leaves_odd=True, length=9),
    "groups": Member(GroupSubstitution(reduced=MURPHY, rate=0.5), leaves_odd=True),
    "reletter": Member(Reletter(reduced=MURPHY), leaves_odd=True, is_random=False),
    "back-translation": Member(BackTranslation(usage=COLI)),
    "recoding": Member(Recoding(usage=COLI, temperature=2), CODON, leaves_odd=True),
    "synonyms": Member(SynonymousCodons(rate=0.5, probability=0.7, usage=HUMAN), CODON, leaves_odd=True),
    "crop": Member(RandomCrop(7), at_rest=RandomCrop(1000)),
    "cutout": Member(Cutout(length=4, count=2), at_rest=Cutout(length=4, count=0)),
    "dropout": Member(DROPOUT),
    "dropout of codons": Member(LetterDropout(rate=0.3, alphabet=CODON), CODON),
    "deletion": Member(DELETION),
    "deletion of all": Member(RandomDeletion(rate=1)),
    "insertion": Member(INSERTION),
    "insertion of codons": Member(RandomInsertion(rate=1, alphabet=CODON, background=SENSE), CODON),
    "reverse complement": Member(TURNED, DNA),
    "chain": Member(Chain((GROWN, BLOSUM, LOST, RandomCrop(9))), at_rest=Chain(())),
    "chain of alphabets": Member(Chain((RandomCrop(9), BackTranslation(), SynonymousCodons(rate=0.5)))),
    "one of": Member(OneOf((BLOSUM, DELETION, GROWN), (0.3, 0.2, 0.4)), at_rest=OneOf((BLOSUM,), (0.0,))),
    "one of any": Member(OneOf((RandomCrop(5), DROPOUT))),
    "RandAugment": Member(RandAugment((BLOSUM, DELETION, INSERTION, DROPOUT))),
    "RandAugment of one": Member(RandAugment((TURNED,), num_operations=1, magnitude=1), DNA),
}

every_member = pytest.mark.parametrize("name", MEMBERS)


def letters_of(alphabet: Alphabet) -> NDArray[np.uint8]:
    """All that may stand in a sequence."""
    if alphabet.bases_per_letter == 3:
        return np.append(alphabet.standard_letters, np.uint8(UNKNOWN_CODON))
    return np.frombuffer(alphabet.accepted, dtype=np.uint8)


def batch_of(member: Member, texts: list[bytes], *, protect: bool = False) -> PackedLetters:
    """Any bytes as a batch that the member takes; up to four neighbouring letters of a sequence are protected."""
    if member.length is not None:
        texts = [(text or b"x").ljust(member.length, text[:1] or b"y")[: member.length] for text in texts]
    known = letters_of(member.alphabet)
    packed = PackedLetters.from_sequences([known[np.frombuffer(text, np.uint8) % len(known)] for text in texts])
    mask = np.zeros(len(packed.letters), dtype=bool)
    for start, text in zip(packed.boundaries, texts, strict=False):
        if text:
            first = text[-1] % len(text)
            mask[start + first : start + min(first + text[0] % 5, len(text))] = True
    packed = replace(packed, protected=mask if protect else None)
    for array in (packed.letters, packed.boundaries, mask):
        array.flags.writeable = False
    return packed


def long_batch(member: Member, count: int, length: int = 60) -> PackedLetters:
    rng = np.random.default_rng(2)
    return batch_of(member, [rng.bytes(member.length or length) for _ in range(count)])


def draws_of(count: int, seed: int = 0, **which: int) -> Draws:
    draws = keyed(count, seed=seed, **which)
    draws.keys.flags.writeable = False
    return draws


def part_of(packed: PackedLetters, which: list[int]) -> PackedLetters:
    return packed.selected(np.array(which, dtype=np.int64))[0]


def assert_same(ours: PackedLetters, other: PackedLetters) -> None:
    assert ours.letters.dtype == other.letters.dtype == np.uint8
    assert np.array_equal(ours.letters, other.letters) and np.array_equal(ours.boundaries, other.boundaries)
    assert (ours.protected is None) == (other.protected is None)
    assert ours.protected is None or np.array_equal(ours.protected, other.protected)


BATCHES = st.lists(st.binary(max_size=24), max_size=6)
SEEDS = st.integers(0, 2**40)


def test_every_augmenter_is_a_member() -> None:
    exported = [getattr(seqtrain.augment, name) for name in seqtrain.augment.__all__]
    augmenters = {kind for kind in exported if isinstance(kind, type) and is_dataclass(kind) and _augments(kind)}
    assert len(augmenters) >= 17
    assert augmenters == {type(member.augmenter) for member in MEMBERS.values()}
    restless = augmenters - {type(member.identity) for member in MEMBERS.values()}
    assert restless == {BackTranslation, Recoding, Reletter}, "those without a strength are few and known"


def _augments(kind: type[Any]) -> bool:
    return "__call__" in vars(kind) and kind.__call__.__annotations__["return"] == "Augmented"


@every_member
@SETTINGS
@given(texts=BATCHES, seed=SEEDS, protect=st.booleans())
def test_what_comes_out_is_a_batch_that_knows_its_origin(
    name: str, texts: list[bytes], seed: int, protect: bool
) -> None:
    member = MEMBERS[name]
    packed = batch_of(member, texts, protect=protect)
    augmented = member.augmenter(packed, draws_of(len(packed), seed))
    after, origin = augmented.packed, augmented.origin
    assert after.letters.dtype == np.uint8 and origin.dtype == after.boundaries.dtype == np.int64
    assert len(after) == len(packed) and after.boundaries[0] == 0 and after.boundaries[-1] == len(after.letters)
    assert len(origin) == len(after.letters) and origin.min(initial=0) >= -1
    assert ((after.lengths > 0) == (packed.lengths > 0)).all(), "nothing becomes empty, and nothing comes from nothing"
    written_in = member.augmenter.output_alphabet or member.alphabet
    assert np.isin(after.letters, letters_of(written_in)).all()
    kept = origin >= 0
    assert kept.all() or "Insertion" in str(member.augmenter)
    assert (packed.segments[origin[kept]] == after.segments[kept]).all(), "letters stay in their sequence"
    for start, stop in zip(after.boundaries, after.boundaries[1:], strict=False):
        steps = np.diff(origin[start:stop][kept[start:stop]])
        assert (steps > 0).all() or (member.alphabet is DNA and (steps < 0).all()), "and in their order"
    if not protect:
        assert after.protected is None
        return
    assert after.protected is not None and packed.protected is not None
    assert np.array_equal(np.sort(origin[after.protected]), np.flatnonzero(packed.protected)), "each is still there"
    if written_in == member.alphabet:
        assert (after.letters[after.protected] == packed.letters[origin[after.protected]]).all()


@every_member
@SETTINGS
@given(texts=BATCHES, seed=SEEDS, cut=st.integers(0, 6), protect=st.booleans())
def test_a_result_depends_on_its_own_sequence_and_key_alone(
    name: str, texts: list[bytes], seed: int, cut: int, protect: bool
) -> None:
    member = MEMBERS[name]
    packed, draws = batch_of(member, texts, protect=protect), draws_of(len(texts), seed)
    together = member.augmenter(packed, draws).packed
    order = list(range(len(texts)))[::-1]
    for which in (order, order[:cut], order[cut:], [0, 0, 0] if texts else []):
        apart = member.augmenter(part_of(packed, which), Draws(draws.keys[which])).packed
        assert_same(apart, part_of(together, which))


@every_member
@SETTINGS
@given(texts=BATCHES, seed=SEEDS, protect=st.booleans())
def test_at_rest_it_is_the_identity(name: str, texts: list[bytes], seed: int, protect: bool) -> None:
    member = MEMBERS[name]
    if member.identity is None:
        return
    packed = batch_of(member, texts, protect=protect)
    augmented = member.identity(packed, draws_of(len(packed), seed))
    assert_same(augmented.packed, packed)
    assert np.array_equal(augmented.origin, np.arange(len(packed.letters)))


@every_member
def test_odd_letters_and_stops_stay(name: str) -> None:
    member = MEMBERS[name]
    if not member.leaves_odd:
        return
    packed = long_batch(member, 200)
    stays = ~np.isin(packed.letters, member.alphabet.standard_letters)
    if member.alphabet is CODON:
        stays |= np.isin(packed.letters, CODON.standard_letters[genetic_code(1).stops])
    augmented = member.augmenter(packed, draws_of(len(packed)))
    assert stays.sum() > 20 and (augmented.packed.letters[stays] == packed.letters[stays]).all()
    assert (augmented.packed.letters != packed.letters).any()


@every_member
def test_protecting_some_letters_changes_nothing_for_the_others(name: str) -> None:
    member = MEMBERS[name]
    packed = long_batch(member, 50)
    free = member.augmenter(packed, draws_of(50))
    if free.moved is not None:
        return
    mask = np.arange(len(packed.letters)) % 5 == 0
    shielded = member.augmenter(replace(packed, protected=mask), draws_of(50))
    assert np.array_equal(shielded.packed.letters[~mask], free.packed.letters[~mask])


@every_member
def test_draws_differ_between_seeds_epochs_and_records(name: str) -> None:
    member = MEMBERS[name]
    packed = part_of(long_batch(member, 1), [0] * 40)
    first = member.augmenter(packed, draws_of(40)).packed
    assert (len({first[index].tobytes() for index in range(40)}) > 1) == member.is_random
    for which in (draws_of(40, seed=1), draws_of(40, epoch=1), draws_of(40, first_record=40)):
        second = member.augmenter(packed, which).packed
        same = np.mean([np.array_equal(first[index], second[index]) for index in range(40)])
        assert same < 0.8 or not member.is_random
    again = member.augmenter(packed, draws_of(40)).packed
    assert_same(again, first)


def anew(augmenter: Any) -> Any:
    """The same with nothing computed yet."""
    return replace(augmenter)


@every_member
def test_pickled_it_does_the_same(name: str) -> None:
    member = MEMBERS[name]
    packed = long_batch(member, 20)
    untried = there_and_back(anew(member.augmenter))
    expected = member.augmenter(packed, draws_of(20)).packed
    tried = there_and_back(member.augmenter)
    for revived in (untried, tried):
        assert_same(revived(packed, draws_of(20)).packed, expected)
        # Models and profiles hold arrays, and are equal only to themselves.
        assert revived == member.augmenter or isinstance(revived, ModelSubstitution | ProfileSubstitution)


@every_member
def test_it_is_a_value(name: str) -> None:
    augmenter = MEMBERS[name].augmenter
    same = anew(augmenter)
    assert same == augmenter and hash(same) == hash(augmenter) and same is not augmenter
    assert len({augmenter, same, *(member.augmenter for member in MEMBERS.values())}) == len(MEMBERS)
    with pytest.raises(AttributeError):
        augmenter.input_alphabet = DNA


@every_member
def test_strings_lists_arrays_and_packed_letters_give_the_same(name: str) -> None:
    member = MEMBERS[name]
    packed = long_batch(member, 8, length=30)
    if member.alphabet == CODON:
        # Text with a stop inside is refused.
        stops = np.isin(packed.letters, [128 + CODONS.index(stop) for stop in ("TAA", "TAG", "TGA")])
        packed = packed.with_letters(np.where(stops, np.uint8(128), packed.letters))
    written_in = member.augmenter.output_alphabet or member.alphabet
    texts = [member.alphabet.text(packed[index]) for index in range(8)]
    after = member.augmenter(packed, draws_of(8, seed=3, epoch=2, first_record=5)).packed
    expected = [written_in.text(after[index]) for index in range(8)]
    assert augment(member.augmenter, texts, seed=3, epoch=2, first_record=5) == expected
    if member.augmenter.input_alphabet is not None:
        lower = tuple(text.lower() for text in texts)
        assert augment(member.augmenter, lower, seed=3, epoch=2, first_record=5) == expected
    for index in (0, 7):
        assert augment(member.augmenter, texts[index], seed=3, epoch=2, first_record=5 + index) == expected[index]
    rows = packed.letters.reshape(8, -1)
    for array in (rows, rows.view("S1"), rows.astype(np.uint32).view("U1")):
        array.flags.writeable = False
        for index in (0, 7):
            row = augment(member.augmenter, array[index], seed=3, epoch=2, first_record=5 + index)
            assert row.dtype == array.dtype and row.ndim == 1
            assert _as_bytes(row) == after[index].tobytes()
        if (after.lengths == after.lengths[0]).all():
            whole = augment(member.augmenter, array, seed=3, epoch=2, first_record=5)
            assert whole.dtype == array.dtype and whole.shape == (8, after.lengths[0])
            assert _as_bytes(whole) == after.letters.tobytes()
        else:
            with pytest.raises(ValueError, match=r"changed the lengths.*give a list of strings instead"):
                augment(member.augmenter, array, seed=3, epoch=2, first_record=5)


def _as_bytes(array: NDArray[Any]) -> bytes:
    letters = array.view(np.uint32).astype(np.uint8) if array.dtype.kind == "U" else array
    return np.ascontiguousarray(letters).tobytes()


@every_member
def test_letters_are_at_other_places_only_after_augmenters_known_to_move_them(name: str) -> None:
    member = MEMBERS[name]
    packed = long_batch(member, 30)
    augmented = member.augmenter(packed, draws_of(len(packed)))
    moved = augmented.packed.lengths.tolist() != packed.lengths.tolist() or not np.array_equal(
        augmented.origin, np.arange(len(packed.letters))
    )
    assert moved == any(isinstance(each, Moving) for each in with_members(member.augmenter))
