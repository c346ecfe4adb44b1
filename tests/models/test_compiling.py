"""Compiled layers: the same numbers, and one compilation for batches of all shapes."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from seqtrain.errors import InputError
from seqtrain.models import compiling
from seqtrain.models.checkpointing import checkpoint_layers
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.compiling import compile_layers
from seqtrain.models.transformer import TransformerConfig
from tests.models.packs import draw_sequences, pack

CONFIG = TransformerConfig(width=16, depth=3, num_heads=2)
SHAPES = [[40, 9, 31], [5, 30, 30, 9], [3, 3], [101, 64, 7], [12], [9, 9, 40, 40, 8], [77, 5]]


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    """Nothing compiled before or after."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def _pass(body: nn.Module, lengths: list[int], every: int = 3) -> list[Tensor]:
    """The output at every few positions and the gradients."""
    batch = pack(draw_sequences(lengths))
    torch.manual_seed(0)
    hidden = body(batch.inputs, batch.boundaries, torch.arange(0, len(batch.inputs), every))
    weights = [parameter for parameter in body.parameters() if parameter.requires_grad]
    return [hidden, *torch.autograd.grad(hidden.square().sum(), weights)]


def _pair(config: TransformerConfig, backend: str) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    plain = config.build().train()
    compiled = copy.deepcopy(plain)
    compile_layers(compiled, backend)
    return plain, compiled


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_nothing_is_compiled_again_and_the_numbers_stay(backend: str) -> None:
    if backend == "inductor" and not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("needs a C++ compiler")
    plain, compiled = _pair(CONFIG, backend)
    _pass(compiled, SHAPES[0])
    with torch.compiler.set_stance("fail_on_recompile"):
        for lengths in SHAPES:
            for found, expected in zip(_pass(compiled, lengths), _pass(plain, lengths), strict=True):
                torch.testing.assert_close(found, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-4)
        _pass(compiled, [5], every=10)  # one position only
    assert list(compiled.state_dict()) == list(plain.state_dict())


def test_evaluation_is_not_compiled() -> None:
    plain, compiled = _pair(CONFIG, "aot_eager")
    with torch.compiler.set_stance("fail_on_recompile"):
        for found, expected in zip(_pass(compiled.eval(), SHAPES[0]), _pass(plain.eval(), SHAPES[0]), strict=True):
            assert torch.equal(found, expected)


def test_a_layer_computed_twice_drops_the_same_values() -> None:
    config = TransformerConfig(width=16, depth=3, num_heads=2, dropout=0.4)
    _, compiled = _pair(config, "aot_eager")
    once = _pass(compiled, SHAPES[0])
    with torch.no_grad():
        batch = pack(draw_sequences(SHAPES[0]))
        torch.manual_seed(0)
        without_graph = compiled(batch.inputs, batch.boundaries, torch.arange(0, len(batch.inputs), 3))
    assert torch.equal(without_graph, once[0])
    checkpoint_layers(compiled)
    for found, expected in zip(_pass(compiled, SHAPES[0]), once, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


def test_a_copy_computes_with_its_own_weights() -> None:
    _, compiled = _pair(CONFIG, "aot_eager")
    other = copy.deepcopy(compiled)
    expected = _pass(compiled, SHAPES[0])[0]
    with torch.no_grad():
        for parameter in compiled.parameters():
            parameter.zero_()
    torch.testing.assert_close(_pass(other, SHAPES[0])[0], expected)


def test_other_bodies_are_refused() -> None:
    with pytest.raises(InputError, match="--compile: is for the transformers"):
        compile_layers(CNNConfig(width=16, depth=2).build())


def test_a_missing_compiler_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="needs a C\\+\\+ compiler on a CPU"):
        compile_layers(CONFIG.build())
