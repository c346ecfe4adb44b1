"""The peer of the training benchmarks: transformers' Trainer on EsmForMaskedLM, as its documentation sets it up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset, SequentialSampler
from transformers import (
    DataCollatorForLanguageModeling,
    EsmConfig,
    EsmForMaskedLM,
    EsmTokenizer,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from seqtrain.alphabet import PROTEIN
from seqtrain.models.transformer import TransformerConfig


class Tokenized(Dataset[dict[str, list[int]]]):
    """Texts as a Trainer wants them."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        ids = PROTEIN.vocabulary.lookup[PROTEIN.pack(self.texts[index].encode())]
        return {"input_ids": [PROTEIN.vocabulary.id("<cls>"), *ids.tolist(), PROTEIN.vocabulary.id("<eos>")]}


class InOrder(Trainer):
    """A Trainer that takes its sequences in the order in which they are given."""

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset if train_dataset is None else train_dataset)


def peer_model(config: TransformerConfig) -> EsmForMaskedLM:
    """ESM-2 of a shape with fresh weights, without dropout like the published models and ours."""
    ids = {name: PROTEIN.vocabulary.id(f"<{name}>") for name in ("mask", "pad")}
    return EsmForMaskedLM(
        EsmConfig(
            vocab_size=config.vocabulary_size,
            mask_token_id=ids["mask"],
            pad_token_id=ids["pad"],
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.num_heads,
            intermediate_size=config.inner_width,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            layer_norm_eps=config.layer_norm_eps,
            position_embedding_type="rotary",
            token_dropout=True,
        )
    )


def tokenizer_in(folder: Path) -> EsmTokenizer:
    """ESM-2's tokenizer, by way of a vocabulary file in a folder."""
    path = folder / "vocab.txt"
    path.write_text("\n".join(PROTEIN.tokens) + "\n", encoding="utf-8")
    return EsmTokenizer(str(path))


def masked_lm_trainer(
    kind: type[Trainer], config: TransformerConfig, texts: Sequence[str], folder: Path, **arguments: Any
) -> Trainer:
    """A Trainer on texts, for one pass over them and with its own defaults where nothing else is said.

    Args:
        folder: for the vocabulary, and whatever a Trainer wants to write.
        arguments: more of TrainingArguments.
    """
    torch.manual_seed(0)
    tokenizer = tokenizer_in(folder)
    settings = {
        "output_dir": str(folder),
        "num_train_epochs": 1,
        "use_cpu": True,
        "save_strategy": "no",
        "logging_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    return kind(
        model=peer_model(config),
        args=TrainingArguments(**{**settings, **arguments}),
        train_dataset=Tokenized(texts),
        data_collator=DataCollatorForLanguageModeling(tokenizer),
    )


def on_every_step(act: Callable[[int], None]) -> TrainerCallback:
    """A callback that calls ``act`` with the number of the update, from 0, at the end of each."""

    class OnStep(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            act(state.global_step - 1)

    return OnStep()


def lengths_of(texts: Sequence[str]) -> list[int]:
    """Residues of each text."""
    return [len(text) for text in texts]
