"""Families that were planted are found, tables are read to the letter, and weights do what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqtrain.families import Families, SharedKmers, read_families
from seqtrain.orders import Weighted
from tests.corpora import RESIDUES, proteins


def mutated(text: str, identity: float, rng: np.random.Generator) -> str:
    changed = rng.random(len(text)) > identity
    return "".join(str(rng.choice(list(RESIDUES))) if flag else x for flag, x in zip(changed, text, strict=True))


def families_in(texts: list[str]) -> Families:
    letters = np.frombuffer("".join(texts).encode(), np.uint8)
    return SharedKmers()(letters, np.concatenate([[0], np.cumsum([len(text) for text in texts])]))


def test_planted_families_are_found_and_strangers_are_left_alone() -> None:
    rng = np.random.default_rng(0)
    sources = proteins(rng.integers(80, 400, 60).tolist())
    texts = [copy for text in sources for copy in (text, *(mutated(text, 0.9, rng) for _ in range(3)))]
    strangers = proteins([150] * 100, seed=9)
    family = families_in([*texts, *strangers]).family
    groups = family[: len(texts)].reshape(60, 4)
    assert (groups == groups[:, :1]).mean() > 0.97
    assert len(np.unique(groups[:, 0])) == 60
    assert len(np.unique(family[len(texts) :])) == 100 and not np.isin(family[len(texts) :], groups).any()


def test_fragments_belong_to_what_they_are_part_of() -> None:
    sources = proteins([400] * 40)
    family = families_in([*sources, *(text[100:220] for text in sources)]).family
    assert (family[:40] == family[40:]).mean() > 0.95


def test_the_order_of_records_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    sources = proteins([120] * 30)
    texts = [*sources, *(mutated(text, 0.85, rng) for text in sources)]
    shuffled = rng.permutation(len(texts))
    one, other = families_in(texts).family, families_in([texts[i] for i in shuffled]).family
    pairs = {(a, b) for a, b in zip(one[shuffled].tolist(), other.tolist(), strict=True)}
    assert len(pairs) == len(set(one.tolist())) == len(set(other.tolist()))


@pytest.mark.parametrize("texts", [["A"], ["ACDEF", "ACDEF"], ["A" * 500, "A" * 400, "M"], ["ACDEFGHIKL"] * 3])
def test_short_and_monotonous_sequences(texts: list[str]) -> None:
    family = families_in(texts).family
    assert len(family) == len(texts)
    if texts[0] == "ACDEFGHIKL":
        assert len(set(family.tolist())) == 1


def test_weights_shares_and_effective_numbers() -> None:
    families = Families(family=np.array([0] * 9 + [1] * 3 + [2]), made_how="by hand")
    assert families.sizes.tolist() == [9, 3, 1]
    for power, shares in ((0.0, [9, 3, 1]), (0.5, [3, 3**0.5, 1]), (1.0, [1, 1, 1])):
        expected = np.array(shares) / np.sum(shares)
        weights = families.weights(power)
        np.testing.assert_allclose(np.bincount(families.family, weights / weights.sum()), expected)
        assert families.effective_number(power) == pytest.approx(np.exp(-(expected * np.log(expected)).sum()))
    units, _ = Weighted(families.weights(1.0), 0)(np.arange(13 * 100))
    counts = np.bincount(families.family[units])
    assert np.abs(counts / counts.sum() - 1 / 3).max() < 0.02


def table(folder: Path, text: str) -> Path:
    path = folder / "clusters.tsv"
    path.write_text(text)
    return path


def test_a_table_is_read(tmp_path: Path) -> None:
    path = table(tmp_path, "\ufeffa\ta\na\tb\n\nc\tc\r\na\tx9\n")
    families, missing = read_families(path, ["b", "c", "new", "a"])
    assert missing == 1
    assert families.family[0] == families.family[3] != families.family[1] and len(families.sizes) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\nc\n", r"clusters\.tsv:2: 1 columns; write a representative and a member"),
        ("a\tb\tc\n", r"clusters\.tsv:1: 3 columns"),
        ("a\tb\nc\tb\n", r"clusters\.tsv:2: b is in two families; leave it in one"),
        ("x\ty\n", "names none of the 2 sequences, the first of which is b"),
        ("", "names none of the 2 sequences"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_families(table(tmp_path, text), ["b", "q"])
