"""A distillation of similarities around the loop: the module of the teacher, and one beside the head of the student."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from seqtrain.augment import RandomCrop
from seqtrain.augment.by_view import ByView
from seqtrain.batch import Batch
from seqtrain.batching import MicrobatchBudget, Microbatches, steps_from
from seqtrain.config import DistillConfig
from seqtrain.draws import generator_seed
from seqtrain.errors import InputError
from seqtrain.fitting import Listener, Training
from seqtrain.io.run_directory import replacing_folder, sha256_of, write_json_atomically
from seqtrain.models.compared_head import ComparedHead, SimilarityModule, SimilarityModules, residue_means
from seqtrain.models.network import Network
from seqtrain.objectives import Distillation
from seqtrain.objectives.similarity import OriginalRetrieval, SimilarityDistillation
from seqtrain.optimizers import AdamW
from seqtrain.recipes.teachers import Teacher
from seqtrain.regularization import ClipNorm
from seqtrain.schedules import WarmupCosine
from seqtrain.training import train_steps

_PROJECTIONS = 128
"""P, for the student and for each network of the teacher."""
_SHARE_OF_STEPS = 4
"""The student takes so many times the steps of the teacher's module: the code of Xu et al. has 240 epochs, and 60."""
_LEARNING_RATE = 1e-3
_MEASURED_STEPS = 10
_FOLDER, _WEIGHTS, _INDEX = "similarity", "module.safetensors", "index.json"


def with_similarity(
    config: DistillConfig, training: Training, teacher: Teacher, made_from: Mapping[str, str], output: Path,
    listener: Listener,
) -> Training:  # fmt: skip
    """The training of a student that learns similarities, too; the teacher's module is trained first, or read back.

    Every step holds the records that it would hold otherwise, each as it is and augmented, so that it takes twice the
    tokens. The network of the training gets a module beside its head, until :func:`without_module`.

    Args:
        made_from: SHA-256 of what the teacher's module depends on, by name.

    Raises:
        RunError: the training of the module failed, or the disk is full.
    """
    assert config.similarity is not None
    training = _in_two_views(config, training)
    network, objective, loop = training.network, training.objective, training.loop
    assert isinstance(network, Network) and isinstance(objective, Distillation)
    num_steps = config.similarity_steps or max(1, training.num_steps // _SHARE_OF_STEPS)
    modules = _modules(teacher, config.seed).to(loop.device)
    asked = AskedForSimilarity(teacher, modules)
    facts = {**made_from, "steps": str(num_steps), "tokens": str(training.tokens_per_step), "seed": str(config.seed)}
    facts["augment"] = " ".join(config.augment)
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    if not _read_back(modules, output / _FOLDER, digest):
        told, among = _train_modules(asked, training, num_steps)
        _keep(modules, output / _FOLDER, digest)
        listener.say(
            f"similarity: the teacher's module has learnt for {num_steps:,} steps, and tells in {told:.0%} of cases "
            f"which sequence an augmented one was made from, of the {among:.0f} that a step has on average"
        )
    else:
        listener.say(f"similarity: the teacher's module is that of {output / _FOLDER}")
    modules.requires_grad_(False)
    _add_module(network, config.seed, loop.device)
    wanted = SimilarityDistillation(
        teacher=asked,
        distillation=objective,
        weight=config.similarity,
        projections=(_PROJECTIONS, _PROJECTIONS * len(modules.widths)),
    )
    return replace(training, objective=wanted)


def without_module(network: nn.Module) -> None:
    """Put the head of a finished student back in its place; others stay as they are."""
    if isinstance(network, Network) and isinstance(network.head, ComparedHead):
        network.head = network.head.head  # type: ignore[assignment]


def check_steps(config: DistillConfig, training: Training) -> None:
    """Refuse steps that may hold a single sequence, which there is nothing to compare with.

    Raises:
        InputError: fewer than two sequences, or too few tokens for the longest two.
    """
    examples = training.examples
    if len(np.unique(examples.spans.records)) < 2:
        raise InputError(
            f"--similarity {config.similarity:g}: compares sequences, and there is one to train on; leave it out"
        )
    longest = int(np.sort(examples.num_tokens)[-2:].sum())
    if training.tokens_per_step < longest:
        raise InputError(
            f"--tokens-per-step {training.tokens_per_step}: --similarity compares the sequences of a step, and two "
            f"take up to {longest:,} tokens; give at least {longest}, or lower --max-length"
        )


class AskedForSimilarity(nn.Module):
    """A teacher that says beside its answers how its modules project each sequence; never trained."""

    def __init__(self, teacher: Teacher, modules: SimilarityModules) -> None:
        super().__init__()
        self.teacher, self.projecting = teacher, modules

    @torch.no_grad()
    def forward(self, batch: Batch) -> Tensor:
        """(B, K + M P): what the teacher says, and the directions of its M networks"""
        said, pooled = self.said_and_pooled(batch)
        with torch.autocast(pooled.device.type, enabled=False):
            return torch.cat((said, self.projecting(pooled)), dim=1)

    @torch.no_grad()
    def said_and_pooled(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, K) what the teacher says, and (B, D) the pooled hidden states of its networks side by side; one pass."""
        hidden: list[Tensor] = []
        handles = [
            member.body.register_forward_hook(lambda body, given, made: hidden.append(made))  # type: ignore[union-attr]
            for member in self.teacher.members
        ]
        try:
            said = self.teacher(batch)
        finally:
            for handle in handles:
                handle.remove()
        where = batch.segments, batch.residues, len(batch)
        return said, torch.cat([residue_means(each, *where) for each in hidden], dim=1)

    def pooled(self, batch: Batch) -> Tensor:
        """(B, D), as of :meth:`said_and_pooled`"""
        return self.said_and_pooled(batch)[1]


class _OnFeatures(nn.Module):
    """Modules as a network of batches whose pooled hidden states are known."""

    def __init__(self, modules: SimilarityModules) -> None:
        super().__init__()
        self.projecting = modules

    def forward(self, batch: Batch) -> Tensor:
        """(B, M P)"""
        assert batch.features is not None, "OriginalRetrieval prepares them"
        projections: Tensor = self.projecting(batch.features)
        return projections


def _in_two_views(config: DistillConfig, training: Training) -> Training:
    """Every example as it is and augmented, in steps of the same examples as before."""
    examples = training.examples
    assert examples.augmenter is not None, "check_options refuses none"
    views = ByView(first=RandomCrop(config.max_length), second=examples.augmenter)
    # An example takes twice the tokens, so that a budget of twice as many holds the very same examples.
    return replace(
        training,
        examples=replace(examples, augmenter=views, num_views=SimilarityDistillation.num_views),
        tokens_per_step=SimilarityDistillation.num_views * training.tokens_per_step,
    )


def _modules(teacher: Teacher, seed: int) -> SimilarityModules:
    """Fresh modules of a teacher, drawn by the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_seed(seed, "teacher's module"))
        return SimilarityModules([member.body.width for member in teacher.members], _PROJECTIONS)  # type: ignore[union-attr,misc]


def _add_module(network: Network, seed: int, device: torch.device) -> None:
    """Set a fresh module, drawn by the seed, beside the head of a student."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_seed(seed, "student's module"))
        module = SimilarityModule(network.body.width, _PROJECTIONS)
    network.head = ComparedHead(network.head, module).to(device=device, dtype=network.head_dtype)


def _train_modules(asked: AskedForSimilarity, training: Training, num_steps: int) -> tuple[float, float]:
    """Train the modules of a frozen teacher.

    Returns:
        of the last steps: the share of augmented sequences that the modules tell, and the sequences in a step
    """
    loop = replace(training.loop, precision="fp32", freezing=None, regularizers=(ClipNorm(),), on_nan="stop")
    budget = MicrobatchBudget(training.first_microbatch)
    steps = islice(steps_from(training.examples, training.tokens_per_step, 0, loop.seed), num_steps)
    network = _OnFeatures(asked.projecting)
    reports = train_steps(
        network,
        OriginalRetrieval(pooled=asked.pooled),
        (Microbatches(step, training.examples, budget) for step in steps),
        AdamW(learning_rate=_LEARNING_RATE).build(network),
        WarmupCosine(num_steps=num_steps),
        loop,
    )
    last = list(reports)[-_MEASURED_STEPS:]
    network.eval()
    told = float(np.mean([report.measures["accuracy"] for report in last]))
    return told, float(np.mean([report.num_records for report in last])) / OriginalRetrieval.num_views


def _keep(modules: SimilarityModules, folder: Path, digest: str) -> None:
    """Write the weights of modules and what they were made from, whole or not at all."""
    with replacing_folder(folder) as partial:
        save_file({name: each.contiguous().cpu() for name, each in modules.state_dict().items()}, partial / _WEIGHTS)
        write_json_atomically(partial / _INDEX, {"made_from": digest, "sha256": sha256_of(partial / _WEIGHTS)})


def _read_back(modules: SimilarityModules, folder: Path, digest: str) -> bool:
    """Give modules the weights of a folder, if they are whole and were made from the same."""
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        if index != {"made_from": digest, "sha256": sha256_of(folder / _WEIGHTS)}:
            return False
        modules.load_state_dict(load_file(folder / _WEIGHTS))
    except (OSError, ValueError, RuntimeError, SafetensorError):
        return False
    return True
