"""Every example runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from seqtrain.config import PretrainConfig
from seqtrain.fitting import Silent
from seqtrain.recipes.pretrain import pretrain
from seqtrain_data import sample_path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_embeddings_in_scikit_learn(tmp_path: Path) -> None:
    fasta, table = sample_path("chloroplast_proteins.fasta"), sample_path("chloroplast_functions.csv")
    run = tmp_path / "run"
    pretrain(PretrainConfig(inputs=(str(fasta),), output=str(run), size="100K", steps=5, num_evaluations=1), Silent())
    command = [sys.executable, EXAMPLES / "embeddings_in_scikit_learn.py", run, table, "--target", "function"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "embeddings: accuracy 0." in done.stdout and "k-mers: accuracy 0." in done.stdout
