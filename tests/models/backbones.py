"""Folders of BERT and T5 as their authors publish them, small and with random weights, and their numbers by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from seqtrain.models.backbone import BackboneConfig, Family
from tests.models.packs import shake

PROTBERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"LAGVESIKRDTPNQFYMHCWXUBZO"]
"""The 30 lines of ProtBERT's vocab.txt."""
PROTT5 = ["<pad>", "</s>", "<unk>", *(f"\u2581{letter}" for letter in "ALGVSREDTIPKFQNYMHWCXBOUZ")]
"""The 28 pieces of ProtT5's spiece.model; ids up to 127 are spare ones."""


def write_bert(folder: Path, *, seed: int = 0, **settings: Any) -> Any:
    """Write a small ProtBERT and return transformers' BertForMaskedLM of it, in evaluation mode."""
    from transformers import BertConfig, BertForMaskedLM

    shape: dict[str, Any] = {
        "vocab_size": 30, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40,
        "max_position_embeddings": 140, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
    }  # fmt: skip
    torch.manual_seed(seed)
    model = shake(BertForMaskedLM(BertConfig(**shape | settings)))
    save(model, folder)
    (folder / "vocab.txt").write_text("\n".join(PROTBERT) + "\n")
    return model


def write_t5(folder: Path, *, whole: bool = False, seed: int = 0, **settings: Any) -> Any:
    """Write a small ProtT5, or its encoder alone, and return transformers' T5EncoderModel of it, in evaluation mode."""
    from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration

    shape: dict[str, Any] = {
        "vocab_size": 128, "d_model": 24, "d_kv": 8, "d_ff": 40, "num_layers": 3, "num_heads": 4, "dropout_rate": 0.0,
        "relative_attention_num_buckets": 8, "relative_attention_max_distance": 20,
    }  # fmt: skip
    torch.manual_seed(seed)
    if whole:
        both = shake(T5ForConditionalGeneration(T5Config(**shape | settings)))
        save(both, folder)
        encoder = T5EncoderModel.from_pretrained(folder, dtype=torch.float32).eval()
    else:
        encoder = shake(T5EncoderModel(T5Config(**shape | settings)))
        save(encoder, folder)
    (folder / "spiece.model").write_bytes(sentence_pieces(PROTT5))
    return encoder


def save(model: Any, folder: Path) -> None:
    """What transformers writes, without its progress bars."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    model.save_pretrained(folder)


def sentence_pieces(pieces: list[str]) -> bytes:
    """A SentencePiece model with these pieces: fields that its library writes, among them some to be passed over."""
    message = b""
    for index, piece in enumerate(pieces):
        text = piece.encode()
        score = b"\x15\x00\x00\x80\xbf"  # field 2, float32: -1
        kind = b"\x18" + bytes([2 if index == 2 else 3 if index < 3 else 1])  # field 3, number
        inner = b"\x0a" + bytes([len(text)]) + text + score + kind
        message += b"\x0a" + bytes([len(inner)]) + inner
    trainer = b"\x0a\x05a.txt\x20\x80\x01"  # field 2 of the model: file name, and a number of two bytes
    return message + b"\x12" + bytes([len(trainer)]) + trainer


def as_tokenizer_json(tokens: list[str], *, scored: bool) -> str:
    """The same vocabulary in the file of the tokenizers library."""
    if scored:
        return json.dumps({"model": {"vocab": [[token, -1.0] for token in tokens]}})
    ids = {token: index for index, token in enumerate(tokens) if token != "[MASK]"}
    added = [{"id": tokens.index("[MASK]"), "content": "[MASK]"}] if "[MASK]" in tokens else []
    return json.dumps({"model": {"vocab": ids}, "added_tokens": added})


def bert_input(sequence: str) -> Tensor:
    """(1, L + 2) ids as ProtBERT's authors make them: U, Z, O and B are X, unknown letters [UNK]."""
    letters = ["X" if letter in "UZOB" else letter for letter in sequence]
    return torch.tensor([[2, *(PROTBERT.index(letter) if letter in PROTBERT else 1 for letter in letters), 3]])


def t5_input(sequence: str) -> Tensor:
    """(1, L + 1) ids as ProtT5's authors make them."""
    letters = ["\u2581X" if letter in "UZOB" else f"\u2581{letter}" for letter in sequence]
    return torch.tensor([[*(PROTT5.index(letter) if letter in PROTT5 else 2 for letter in letters), 1]])


def small_config(family: Family, tokens: Sequence[str], dropout: float = 0.0) -> BackboneConfig:
    """What a folder of :func:`write_bert` or :func:`write_t5` holds, without one."""
    theirs = PROTBERT if family == "bert" else [piece.removeprefix("\u2581") for piece in PROTT5]
    unknown = theirs.index("[UNK]" if family == "bert" else "<unk>")
    special = {"<cls>": "[CLS]", "<eos>": "[SEP]"} if family == "bert" else {"<eos>": "</s>"}
    names = [special.get(token, token) for token in tokens]
    settings = {
        "bert": {
            "vocab_size": 30, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 40, "max_position_embeddings": 200, "attention_probs_dropout_prob": dropout,
        },
        "t5": {"vocab_size": 128, "d_model": 24, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 4},
    }  # fmt: skip
    return BackboneConfig(
        family=family,
        settings=json.dumps(settings[family]),
        letter_ids=tuple(theirs.index(name) if name in theirs else unknown for name in names),
        output_ids=tuple(theirs.index(name) if name in theirs else -1 for name in names),
        vocabulary_name="vocab.txt",
        vocabulary_text="",
        dropout=dropout,
    )
