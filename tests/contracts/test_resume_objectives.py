"""A pretraining that is stopped and continued leaves what one that is left alone does, whatever it asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seqtrain.config import PretrainConfig
from seqtrain.errors import Stopped
from seqtrain.fitting import Silent
from seqtrain.recipes.pretrain import pretrain
from seqtrain_data.families import FamilyWorld, write_fasta
from tests.contracts.test_resume import STEPS, StopsAt, left_behind

VARIANTS: dict[str, dict[str, Any]] = {
    "falling share": {"objective": "masked-lm:masked_fraction=0.5,final_fraction=0.1,shape=cosine"},
    "spans": {"objective": "span-masking", "model": "cnn"},
    "autoencoder": {"objective": "masked-autoencoder", "average": "ema:decay=0.7"},
    "pretext": {"objective": "pretext:motifs=A-x-L", "augment": ("matrix-substitution:rate=0.2",)},
    "families": {"sampling": "families:power=1"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_stopped_and_continued_equals_left_alone(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqtrain.io.run_directory.os.fsync", lambda descriptor: None)
    write_fasta(tmp_path / "corpus.fasta", FamilyWorld(num_families=3, length=30).sample(60, seed=1))
    settings: dict[str, Any] = {
        "inputs": (str(tmp_path / "corpus.fasta"),), "size": "100K", "steps": STEPS, "tokens_per_step": 300,
        "tokens_per_microbatch": 100, "dropout": 0.2, "num_evaluations": 3, "max_length": 20,
    }  # fmt: skip
    settings |= VARIANTS[name]

    pretrain(PretrainConfig(output=str(tmp_path / "alone"), **settings), Silent())
    config = PretrainConfig(output=str(tmp_path / "stopped"), **settings)
    for stop in (4, 9):
        with pytest.raises(Stopped):
            pretrain(config, StopsAt(stop))
    pretrain(config, Silent())
    whole, stopped = (_left_behind(tmp_path / run) for run in ("alone", "stopped"))
    assert stopped.keys() == whole.keys()
    assert [key for key in whole if stopped[key] != whole[key]] == []


def _left_behind(run: Path) -> dict[str, Any]:
    (run / "predictions.csv").touch()  # which only finetuning writes
    return left_behind(run)
