"""Words become the augmenters that they name, and words that cannot be used are refused with what would do."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from seqtrain.alphabet import CODON, CODONS, DNA, PROTEIN, RNA, Alphabet
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
    RandAugment,
    RandomCrop,
    RandomInsertion,
    Recoding,
    ReducedAlphabet,
    ReverseComplement,
    SynonymousCodons,
    augment,
    k80,
    lg,
    read_policy,
    reduced_alphabet,
)
from seqtrain.augment.policy import NAMES, files_of_policy
from seqtrain.codon_usage_files import codon_usage
from seqtrain.errors import InputError
from seqtrain.genetic_code import genetic_code

BLOSUM = MatrixSubstitution(rate=0.1)
DROPOUT = LetterDropout(rate=0.4)
CUTOUT = Cutout(length=9)

WORDS: dict[str, tuple[list[str], Alphabet, Augmenter]] = {
    "a field": (["matrix-substitution:rate=0.1"], PROTEIN, BLOSUM),
    "blanks": ([" matrix-substitution : rate = 0.1 ,"], PROTEIN, BLOSUM),
    "fields": (
        ["matrix-substitution:rate=.1,matrix=PAM250,temperature=2"],
        PROTEIN,
        MatrixSubstitution(rate=0.1, matrix="PAM250", temperature=2.0),
    ),
    "no fields": (["back-translation"], PROTEIN, BackTranslation()),
    "code": (["recoding:code=11"], CODON, Recoding(code=genetic_code(11))),
    "usage": (["back-translation:temperature=0"], PROTEIN, BackTranslation(temperature=0.0)),
    "whole number": (["cutout:length=9,count=2e0"], PROTEIN, Cutout(length=9, count=2)),
    "alphabet of the input": (["cutout:length=9"], RNA, Cutout(length=9, alphabet=RNA)),
    "reverse complement": (["reverse-complement"], DNA, ReverseComplement()),
    "its own probability": (["reverse-complement:probability=1"], DNA, ReverseComplement(probability=1.0)),
    "own probability of codons": (
        ["synonymous-codons:rate=0.3,probability=0.5"],
        CODON,
        SynonymousCodons(rate=0.3, probability=0.5),
    ),
    "probability": (["cutout:length=9,probability=0.3"], PROTEIN, OneOf((CUTOUT,), (0.3,))),
    "tuple": (
        ["random-insertion:rate=0.1,background=0.4/0.1/0.1/0.4"],
        DNA,
        RandomInsertion(rate=0.1, background=(0.4, 0.1, 0.1, 0.4), alphabet=DNA),
    ),
    "groups that ship": (
        ["group-substitution:reduced=murphy10,rate=1"],
        PROTEIN,
        GroupSubstitution(reduced=reduced_alphabet("murphy10"), rate=1.0),
    ),
    "groups": (
        ["group-substitution:rate=1,reduced=ilvm/acdefghknpqrstwy"],
        PROTEIN,
        GroupSubstitution(
            reduced=ReducedAlphabet("ilvm/acdefghknpqrstwy", ("ILVM", "ACDEFGHKNPQRSTWY")), rate=1.0
        ),
    ),
    "model": (["model-substitution:model=LG,time=0.1"], PROTEIN, ModelSubstitution(model=lg(), time=0.1)),
    "model with a number": (["model-substitution:model=k80/2,time=1"], DNA, ModelSubstitution(model=k80(2), time=1.0)),
    "one of": (["cutout:length=9 | letter-dropout:rate=0.4"], PROTEIN, OneOf((CUTOUT, DROPOUT))),
    "some of": (
        ["3 of cutout:length=9 | letter-dropout:rate=0.4 at 0.25"],
        PROTEIN,
        RandAugment((CUTOUT, DROPOUT), num_operations=3, magnitude=0.25),
    ),
    "in turn": (["cutout:length=9", "random-crop:max_length=50"], PROTEIN, Chain((CUTOUT, RandomCrop(50)))),
    "in turn, over alphabets": (
        ["letter-dropout:rate=0.4", "back-translation", "letter-dropout:rate=0.4"],
        PROTEIN,
        Chain((DROPOUT, BackTranslation(), LetterDropout(rate=0.4, alphabet=CODON))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WORDS)
def test_words_name_augmenters(name: str) -> None:
    words, alphabet, expected = WORDS[name]
    found = read_policy(words, alphabet)
    assert type(found) is type(expected)
    sequence = {"protein": "MKTAYIAKQRQISFVKSH" * 9, "codon": "ATGAAACTGGTGTCT" * 20}.get(
        alphabet.name, "ACGGACCA" * 20
    )
    text = sequence.replace("T", "U") if alphabet == RNA else sequence
    for epoch in range(5):
        assert augment(found, text, seed=1, epoch=epoch) == augment(expected, text, seed=1, epoch=epoch)
    # Draws alone could hide a field that happens not to matter.
    assert repr(found) == repr(expected)


def test_usage_by_name_and_by_file(tmp_path: Path) -> None:
    usage = codon_usage("e_coli")
    assert read_policy(["back-translation:usage=e_coli"], PROTEIN) == BackTranslation(usage=usage)
    path = tmp_path / "own.csv"
    rows = (f"{codon},{weight!r}" for codon, weight in zip(CODONS, usage.weights, strict=True))
    path.write_text("\n".join(["# genetic code: 11", "codon,count", *rows, ""]))
    found = read_policy([f"recoding:usage={path}"], CODON)
    assert isinstance(found, Recoding) and found.usage is not None
    assert (found.usage.weights, found.usage.name, found.read_by.number) == (usage.weights, "own", 11)


def test_every_augmenter_can_be_named() -> None:
    assert len(NAMES) >= 14
    for name, kind in NAMES.items():
        assert name == name.lower() and kind.__name__.lower() == name.replace("-", "")
        needed = [field.name for field in fields(kind) if field.name not in ("alphabet",)]
        with pytest.raises(InputError) as refused:
            read_policy([f"{name}:nonsense=1"], PROTEIN)
        assert name in str(refused.value) and all(field in str(refused.value) for field in needed[:1] or [name])


@pytest.mark.parametrize(
    ("words", "alphabet", "told"),
    [
        (["matrix-substitutoin:rate=0.1"], PROTEIN, ["'matrix-substitutoin'", "did you mean 'matrix-substitution'?"]),
        (["xyzzy"], PROTEIN, ["'xyzzy'", "choose from matrix-substitution"]),
        (["matrix-substitution"], PROTEIN, ["needs rate", "matrix-substitution:rate="]),
        (["matrix-substitution:rate"], PROTEIN, ["rate has no value", "matrix-substitution:rate="]),
        (["matrix-substitution:rat=0.1"], PROTEIN, ["'rat=0.1'", "did you mean 'rate'?"]),
        (["matrix-substitution:rate=much"], PROTEIN, ["matrix-substitution", "rate", "'much'"]),
        (["matrix-substitution:rate=1.5"], PROTEIN, ["matrix-substitution", "rate", "1.5"]),
        (["matrix-substitution:rate=nan"], PROTEIN, ["rate", "nan"]),
        (["matrix-substitution:rate=0.1,matrix=BLOSUM63"], PROTEIN, ["BLOSUM63"]),
        (["cutout:length=2.5"], PROTEIN, ["length", "'2.5'"]),
        (["cutout:length=-1"], PROTEIN, ["-1"]),
        (["back-translation:code=999"], PROTEIN, ["999"]),
        (["back-translation:usage=no such organism"], PROTEIN, ["no such organism"]),
        (["group-substitution:rate=1,reduced=murphy99"], PROTEIN, ["murphy99"]),
        (["model-substitution:time=1,model=lgg"], PROTEIN, ["'lgg'", "lg"]),
        (["model-substitution:time=1,model=k80"], DNA, ["'k80'", "takes 1"]),
        (["profile-substitution:rate=1,profile=nowhere.sto"], PROTEIN, ["nowhere.sto"]),
        (["reverse-complement"], PROTEIN, ["reverse-complement", "protein"]),
        (["synonymous-codons:rate=0.1"], PROTEIN, ["takes codon letters", "protein"]),
        (["back-translation", "back-translation"], PROTEIN, ["takes protein letters", "codon"]),
        (["cutout:length=9 | back-translation"], PROTEIN, ["OneOf", "alphabet"]),
        (["back-translation:probability=0.5"], PROTEIN, ["alphabet changes", "sum to 1"]),
        (["2 of cutout:length=9 | back-translation at 0.5"], PROTEIN, ["BackTranslation", "leave it out"]),
        (["2 of cutout:length=9 at lots"], PROTEIN, ["magnitude", "'lots'"]),
        (["2 of cutout:length=9 at 2"], PROTEIN, ["magnitude", "2.0"]),
        (["cutout:length=9,probability=2"], PROTEIN, ["probability", "from 0 to 1", "2.0"]),
        (["cutout:length=9 |"], PROTEIN, ["no augmenter is called ''"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_words_that_cannot_be_used(words: list[str], alphabet: Alphabet, told: list[str]) -> None:
    with pytest.raises(InputError) as refused:
        read_policy(words, alphabet)
    message = str(refused.value)
    assert "\n" not in message
    for part in told:
        assert part in message, message


def test_models_and_profiles_follow_the_alphabet(tmp_path: Path) -> None:
    assert augment(read_policy(["model-substitution:model=k80/2,time=9"], RNA), "ACGU" * 9, seed=1).strip("ACGU") == ""
    rows = tmp_path / "rows.fasta"
    rows.write_text(">a\nACGT\n>b\nACGA\n")
    drawn = augment(read_policy([f"profile-substitution:profile={rows},rate=1"], DNA), ["ACGT"] * 20, seed=1)
    assert set("".join(drawn)) <= set("ACGT")


def test_a_field_that_is_given_twice_is_refused() -> None:
    with pytest.raises(InputError, match="matrix-substitution: rate is given twice; keep one"):
        read_policy(["matrix-substitution:rate=0.1,rate=0.9"], PROTEIN)


def test_files_in_words_are_found_wherever_they_stand(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a+b.fasta", "f(1).fasta", "m.txt")]
    for path in paths:
        path.write_text("")
    a, f, m = paths
    words = (
        f"profile-substitution:profile={a},rate=0.1",
        f"2 of cutout:length=9 | profile-substitution:rate=0.1,profile={f} at 0.5",
        f"matrix-substitution:matrix={m} | profile-substitution:profile={a}",
    )
    assert files_of_policy(words) == paths and files_of_policy(("cutout:length=9",)) == []
