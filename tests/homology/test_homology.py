"""Pairs, nearest and clusters: complete where all is aligned, planted relatives found by words, odd sets survived."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqtrain.alphabet import CODON, DNA, RNA
from seqtrain.errors import InputError, RunError
from seqtrain.homology import Nearest, Similarity, candidates, homology_clusters, mmseqs, nearest, similar_pairs
from seqtrain.homology.copies import distinct
from seqtrain.texts import pack_texts
from tests.homology.planted import mutated, packed, proteins

BUILT_IN = Similarity(method="built-in")


@pytest.fixture
def by_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every set were too large to align all."""
    monkeypatch.setattr(candidates, "_ALL_PAIRS", -1)


def _keys(pairs: Any) -> dict[tuple[int, int], float]:
    return dict(zip(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True), pairs.identity, strict=True))


def test_what_counts_is_identity_of_the_shorter_over_enough_of_it() -> None:
    text = proteins(1, (100, 101))[0]
    texts = [text, text[:50], text[:50] + proteins(1, (50, 51), seed=9)[0], proteins(1, (100, 101), seed=8)[0]]
    assert _keys(similar_pairs(packed(texts), Similarity(least_identity=0.45, least_coverage=0.8))) == {
        (0, 1): 1.0,
        (1, 2): 1.0,
    }
    halves = _keys(similar_pairs(packed(texts), Similarity(least_identity=0.45, least_coverage=0.4)))
    assert halves[0, 2] >= 0.5


@pytest.mark.usefixtures("by_words")
def test_words_find_every_planted_relative_of_half_identity_and_invent_none() -> None:
    roots = proteins(40, (100, 300), seed=1)
    texts = roots + [mutated(text, 0.55, i, gaps=2) for i, text in enumerate(roots)]
    found = _keys(similar_pairs(packed(texts), BUILT_IN))
    assert {(i, 40 + i) for i in range(40)} <= set(found)
    assert all(second - first == 40 for first, second in found)


@pytest.mark.usefixtures("by_words")
def test_words_find_most_at_40_percent_and_give_the_identity_of_the_full_alignment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    roots = proteins(25, (150, 250), seed=2)
    texts = packed(roots + [mutated(text, 0.4, i) for i, text in enumerate(roots)])
    found = _keys(similar_pairs(texts, BUILT_IN))
    monkeypatch.undo()
    complete = _keys(similar_pairs(texts, BUILT_IN))
    assert sum((i, 25 + i) in found for i in range(25)) >= 22
    assert all(complete[pair] == identity for pair, identity in found.items())


@pytest.mark.usefixtures("by_words")
def test_nearest_is_the_most_identical_target_and_none_where_none_is() -> None:
    roots = proteins(10, (120, 200), seed=3)
    targets = [mutated(text, 0.6, i) for i, text in enumerate(roots)] + [
        mutated(t, 0.8, i) for i, t in enumerate(roots)
    ]
    found = nearest(packed([*roots, "MKV", ""]), packed([*targets, roots[4]]), BUILT_IN)
    assert found.index.tolist() == [10, 11, 12, 13, 20, 15, 16, 17, 18, 19, -1, -1]
    assert found.identity[4] == 1 and np.isnan(found.identity[-2:]).all()
    assert (np.abs(found.identity[:4] - 0.8) < 0.06).all()


def test_clusters_are_the_components_of_pairs() -> None:
    roots = proteins(12, (60, 90), seed=4)
    texts = packed([mutated(text, share, i) for i, text in enumerate(roots) for share in (1.0, 0.7, 0.45)])
    pairs = similar_pairs(texts, BUILT_IN)
    families = homology_clusters(texts, BUILT_IN)
    assert (families.family[pairs.first] == families.family[pairs.second]).all()
    assert len(families.sizes) == 12 and set(families.sizes.tolist()) == {3}
    assert "30% identity over 80%" in families.made_how and "all pairs aligned" in families.made_how


@pytest.mark.usefixtures("by_words")
def test_clusters_by_words_part_no_pair_found_by_words() -> None:
    roots = proteins(30, (100, 160), seed=5)
    texts = packed([mutated(text, share, i) for i, text in enumerate(roots) for share in (1.0, 0.6, 0.35)])
    pairs = similar_pairs(texts, BUILT_IN)
    family = homology_clusters(texts, BUILT_IN).family
    assert (family[pairs.first] == family[pairs.second]).all()
    assert homology_clusters(texts, BUILT_IN).family.tolist() == family.tolist()


@pytest.mark.parametrize("complete", [True, False])
def test_odd_sets(monkeypatch: pytest.MonkeyPatch, complete: bool) -> None:
    if not complete:
        monkeypatch.setattr(candidates, "_ALL_PAIRS", -1)
    for texts in ([], ["M"], ["M", "MK", "MKV", "MKVL", "MKVLA", ""], ["X" * 50, "X" * 60], ["", ""]):
        sequences = packed(texts)
        pairs, families = similar_pairs(sequences, BUILT_IN), homology_clusters(sequences, BUILT_IN)
        found: Nearest = nearest(sequences, sequences, BUILT_IN)
        assert (pairs.first < pairs.second).all() and len(families.family) == len(texts)
        assert found.index.tolist() == [place if text else -1 for place, text in enumerate(texts)]
    assert nearest(packed(["MKV"]), packed([]), BUILT_IN).index.tolist() == [-1]
    assert len(similar_pairs(packed(["X" * 50, "X" * 60]), BUILT_IN)) == 0


def test_equal_sequences_are_joined_to_their_first_copy_only() -> None:
    one, other = proteins(2, (50, 60), seed=6)
    texts = packed([one, other, one, mutated(one, 0.8, 1), one])
    assert set(_keys(similar_pairs(texts, BUILT_IN))) == {(0, 2), (0, 3), (0, 4)}
    assert homology_clusters(texts, BUILT_IN).family.tolist() == [0, 1, 0, 0, 0]
    assert distinct(texts).kind.tolist() == [0, 1, 0, 2, 0]


@pytest.mark.usefixtures("by_words")
def test_thousands_of_copies_variants_and_repeats_take_seconds() -> None:
    text = proteins(1, (100, 101), seed=7)[0]
    variants = [mutated(text, 0.96, i) for i in range(250)]
    begin = time.process_time()
    families = homology_clusters(packed([text] * 5000 + variants), BUILT_IN)
    assert families.sizes.tolist() == [5250]
    repeats = homology_clusters(packed(["Q" * size for size in range(50, 90)] + ["PGS" * 400, "Q" * 20_000]), BUILT_IN)
    assert len(repeats.family) == 42
    assert time.process_time() - begin < 30


@pytest.mark.usefixtures("by_words")
def test_what_a_band_settles_is_what_all_cells_give(monkeypatch: pytest.MonkeyPatch) -> None:
    # Repeats of 30 letters: the best alignment of a part of them is often on another diagonal.
    unit, other = proteins(2, (30, 31), seed=13)
    texts = [unit * 4, mutated(unit, 0.9, 1) + unit * 3, unit * 2 + other + unit, mutated(unit * 4, 0.93, 2, gaps=2)]
    texts += [other + unit * 2, unit + "X" * 25 + unit * 2, (unit * 4)[:-25]]
    found = _keys(similar_pairs(packed(texts), BUILT_IN))
    monkeypatch.undo()
    complete = _keys(similar_pairs(packed(texts), BUILT_IN))
    assert len(found) >= 10 and all(complete[pair] == identity for pair, identity in found.items())


@pytest.mark.usefixtures("by_words")
def test_a_giant_is_aligned_within_memory() -> None:
    giant = proteins(1, (35_000, 35_001), seed=8)[0]
    found = nearest(packed([giant[9_000:9_200], mutated(giant[:300], 0.5, 1)]), packed([giant]), BUILT_IN)
    assert found.index.tolist() == [0, 0] and found.identity[0] == 1 and found.identity[1] >= 0.5


def test_other_alphabets(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = np.random.default_rng(9)
    for alphabet, letters in ((DNA, "ACGT"), (RNA, "ACGU"), (CODON, "ACGT")):
        text = "".join(draws.choice(list(letters), 300))
        other = "".join(draws.choice(list(letters), 300))
        copy = text[:60] + ("A" if text[60] != "A" else "C") + text[61:]
        sequences = pack_texts(alphabet, [text, other, copy])
        for pairs_at_most in (1000, -1):
            monkeypatch.setattr(candidates, "_ALL_PAIRS", pairs_at_most)
            pairs = similar_pairs(sequences, Similarity(least_identity=0.9), alphabet=alphabet)
            assert list(_keys(pairs)) == [(0, 2)] and pairs.identity[0] == 1 - 1 / (len(sequences[0]))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("least_identity", 0.0, "least identity 0: give a share above 0"),
        ("least_identity", 1.2, "least identity 1.2"),
        ("least_identity", 30.0, "least identity 30"),
        ("least_identity", float("nan"), "least identity nan"),
        ("least_coverage", -0.1, "least coverage -0.1"),
        ("method", "blast", "homology method 'blast': choose auto, built-in or mmseqs"),
    ],
)
def test_wrong_settings_are_named(field: str, value: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Similarity(**{field: value})


def test_identity_1_takes_copies_and_parts_only() -> None:
    text = proteins(1, (80, 81), seed=10)[0]
    texts = [text, text[10:60], mutated(text, 0.98, 1)]
    assert set(_keys(similar_pairs(packed(texts), Similarity(least_identity=1)))) >= {(0, 1)}
    assert (0, 2) not in _keys(similar_pairs(packed(texts), Similarity(least_identity=1)))


def test_mmseqs_is_asked_for_its_pairs_which_are_aligned_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = proteins(1, (80, 81), seed=11)[0]
    texts = packed([text, proteins(1, (80, 81), seed=12)[0], mutated(text, 0.7, 1)])
    program = tmp_path / "mmseqs"
    program.write_text(
        '#!/bin/sh\n[ "$1" = version ] && echo 18-test && exit 0\n'
        "printf '0\\t0\\t90\\n2\\t0\\t50\\n0\\t2\\t50\\n0\\t1\\t9\\n' > \"$4\"\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(candidates, "find_mmseqs", lambda: str(program))
    said: list[str] = []
    pairs = similar_pairs(texts, Similarity(method="mmseqs"), said.append)
    assert list(_keys(pairs)) == [(0, 2)] and any("MMseqs2 18-test" in line for line in said)
    program.write_text("#!/bin/sh\necho Segmentation >&2\nexit 3\n")
    with pytest.raises(RunError, match="mmseqs ended with 3: Segmentation"):
        similar_pairs(texts, Similarity(method="mmseqs"))


def test_mmseqs_that_is_missing_or_cannot_serve_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmseqs.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="not on the PATH; install MMseqs2, or choose built-in"):
        similar_pairs(packed(["MKV", "MKL"]), Similarity(method="mmseqs"))
    with pytest.raises(InputError, match="for proteins, not for dna"):
        similar_pairs(pack_texts(DNA, ["ACG"]), Similarity(method="mmseqs"), alphabet=DNA)
