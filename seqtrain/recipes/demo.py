"""The main job on the sample that ships, as a user would type it."""

from __future__ import annotations

from pathlib import Path

from seqtrain.config import FinetuneConfig, PretrainConfig
from seqtrain.config_files import read_config
from seqtrain.fitting import Listener
from seqtrain.recipes.apply import ApplyConfig, predict_file
from seqtrain.recipes.finetune import finetune
from seqtrain.recipes.pretrain import pretrain
from seqtrain_data import sample_path


def demo(output: str, listener: Listener, *, device: str = "auto") -> None:
    """Pretrain on the sample's proteins, finetune on their functions, and predict the proteins again."""
    folder = Path(output)
    fasta, table = sample_path("chloroplast_proteins.fasta"), sample_path("chloroplast_functions.csv")
    base, functions, predictions = folder / "base", folder / "functions", folder / "predictions.csv"

    command = f"seqtrain pretrain {fasta} -o {base} --size 300K"
    listener.say(f"\n$ {command}")
    pretraining = {"inputs": (str(fasta),), "output": str(base), "size": "300K", "device": device}
    pretrain(read_config(PretrainConfig, None, pretraining), listener, command=command)

    command = f"seqtrain finetune {table} --target function --from {base} -o {functions} --epochs 12"
    listener.say(f"\n$ {command}")
    finetuning = {
        "table": str(table),
        "target": ("function",),
        "init_from": str(base),
        "output": str(functions),
        "epochs": 12,
        "device": device,
    }
    finetune(read_config(FinetuneConfig, None, finetuning), listener, command=command)

    listener.say(f"\n$ seqtrain predict {functions} {fasta} -o {predictions}")
    predict_file(fasta, predictions, ApplyConfig(run=str(functions), device=device), listener)
    listener.say(f"\nwrote {predictions}; the reports are {base / 'report.html'} and {functions / 'report.html'}")
