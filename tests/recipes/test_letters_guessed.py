"""Guessed letters are counted as the evaluation scores them, and compared with a matrix as the definition says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seqtrain.alphabet import DNA, PROTEIN
from seqtrain.augment.log_odds import scores_over
from seqtrain.config import PretrainConfig
from seqtrain.fitting import Silent
from seqtrain.recipes.letters_guessed import LettersGuessed, letters_guessed, letters_section
from seqtrain.recipes.pretraining import held_out_examples, prepare, set_up
from seqtrain.recipes.self_supervision import self_supervised_measures

RNG = np.random.default_rng(4)


@pytest.mark.parametrize("objective", ["masked-lm", "span-masking"])
def test_counts_add_up_to_the_evaluation(tmp_path: Path, objective: str) -> None:
    texts = ["".join(RNG.choice(list(PROTEIN.standard), 30)) for _ in range(60)]
    (tmp_path / "p.fasta").write_text("".join(f">{i}\n{text}\n" for i, text in enumerate(texts)))
    config = PretrainConfig(
        inputs=(str(tmp_path / "p.fasta"),),
        output=str(tmp_path / "run"),
        objective=objective,
        size="52K",
        device="cpu",
        steps=1,
    )
    setup = set_up(config, Silent())
    (tmp_path / "run").mkdir()
    corpus = setup.read(tmp_path / "run", Silent())
    training = prepare(setup, corpus, Silent())
    found = letters_guessed(training, corpus, setup.config)
    assert found is not None and found.letters[:2] == ("L", "A")
    whole = held_out_examples(corpus, corpus.valid, training.examples, setup.config)
    measures = self_supervised_measures(training.network, training.objective, whole, training.loop)  # type: ignore[arg-type]
    assert np.trace(found.counts) / found.hidden.sum() == pytest.approx(measures["accuracy"])
    assert found.nats.sum() / found.hidden.sum() == pytest.approx(measures["loss"], rel=1e-5)
    section = letters_section(found)
    assert section is not None and sum(int(row[1]) for row in section.tables[0].rows) == found.hidden.sum()
    assert not section.sentences, "too few mistakes for a comparison"


def _guessed(counts: np.ndarray) -> LettersGuessed:
    return LettersGuessed(alphabet=PROTEIN, counts=counts, nats=np.ones(20), hidden=counts.sum(axis=1))


def test_likeness_to_a_matrix() -> None:
    letters = _guessed(np.zeros((20, 20), np.int64)).letters
    order = [PROTEIN.standard.index(letter) for letter in letters]
    scores = scores_over("BLOSUM62", PROTEIN)[np.ix_(order, order)]
    like = _guessed(np.rint(1000 * np.exp(0.35 * scores)).astype(np.int64))
    assert like.likeness_to("BLOSUM62") > 0.85
    assert abs(_guessed(RNG.integers(100, 200, (20, 20))).likeness_to("BLOSUM62")) < 0.25
    section = letters_section(like)
    assert section is not None and "are those that evolution exchanges" in section.sentences[0]


def test_nothing_hidden_is_no_section() -> None:
    assert letters_section(None) is None
    assert letters_section(_guessed(np.zeros((20, 20), np.int64))) is None
    empty = np.zeros((4, 4), np.int64)
    dna = LettersGuessed(alphabet=DNA, counts=empty + 999, nats=np.ones(4), hidden=empty[0] + 4000)
    section = letters_section(dna)
    assert section is not None and not section.sentences and len(section.tables[0].rows) == 4
