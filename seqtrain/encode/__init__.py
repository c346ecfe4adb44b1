"""Encoders: letters to numbers. Needs neither torch nor transformers."""

from seqtrain.encode.tokens import Encoded, Tokens

__all__ = ["Encoded", "Tokens"]
