"""The learning-rate range test of a pretraining or finetuning that is not begun."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from seqtrain.config import FinetuneConfig, PretrainConfig
from seqtrain.fitting import Listener
from seqtrain.io.run_directory import write_json_atomically, write_text_atomically
from seqtrain.lr_range import RangeResult, RangeTest, range_picture
from seqtrain.recipes.features import with_features
from seqtrain.recipes.finetuning import prepare_finetuning
from seqtrain.recipes.pretraining import prepare_pretraining


def lr_range(config: PretrainConfig | FinetuneConfig, picture: Path, num_steps: int, listener: Listener) -> RangeResult:
    """Train a copy of the network while the rate grows; writes the curve (SVG) and the figures beside it (JSON).

    Raises:
        InputError: input or options that cannot be used.
        RunError: the first step failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        if isinstance(config, FinetuneConfig):
            training = with_features(prepare_finetuning(config, listener), Path(folder), listener)
        else:
            training = prepare_pretraining(config, listener, Path(folder))
        listener.say(f"up to {num_steps} steps at rates from 1e-06 to 1")
        result = RangeTest(num_steps=num_steps)(replace(training, loop=replace(training.loop, warn=listener.say)))
    write_text_atomically(picture, range_picture(result))
    write_json_atomically(picture.with_suffix(".json"), result.to_json())
    return result
