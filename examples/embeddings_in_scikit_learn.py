"""Embeddings of a pretrained run as features of a scikit-learn model, compared with k-mer counts.

python examples/embeddings_in_scikit_learn.py RUN TABLE --target COLUMN
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from seqtrain.inference import InferenceConfig
from seqtrain.io.inputs import read_input
from seqtrain.io.ledger import Ledger
from seqtrain.io.records import RecordReader
from seqtrain.predict import Predictor
from seqtrain.run import load_run


def main() -> None:
    """Print the cross-validated accuracy of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--target", required=True)
    options = parser.parse_args()

    run = load_run(options.run)
    predictor = Predictor.of_run(run, InferenceConfig(device=torch.device("cpu")))
    given = read_input(options.table, sequence_column="sequence")
    ledger = Ledger()
    records = list(RecordReader(run.alphabet, "error", ledger)(given.records))
    vectors = np.concatenate([rows for _, rows in predictor.embed(records) if rows is not None])
    assert given.table is not None
    labels = given.table.column(options.target)
    print("\n".join(ledger.lines()))

    classifier = LogisticRegression(max_iter=1000)
    words = CountVectorizer(analyzer="char", ngram_range=(1, 2), lowercase=False)
    texts = [run.alphabet.text(record.letters) for record in records]
    for name, model, features in (
        ("embeddings", make_pipeline(StandardScaler(), classifier), vectors),
        ("k-mers", make_pipeline(words, StandardScaler(with_mean=False), classifier), texts),
    ):
        scores = cross_val_score(model, features, labels, cv=3)
        print(f"{name}: accuracy {scores.mean():.3f} ± {scores.std():.3f}")


if __name__ == "__main__":
    main()
