"""Everything that needs a GPU, in one command of under ten minutes: correctness, speed beside transformers, compiling.

    python benchmarks/gpu.py
    python benchmarks/gpu.py --device cpu --tiny        # the same program, small, to prove that it runs

Both sides train a masked language model of one shape on the same sequences of natural lengths and the same masked
positions, in bf16 autocast with fused AdamW, taking turns. The peer is transformers' ``EsmForMaskedLM`` with sdpa
attention on a padded rectangle; ours goes through the training loop of ``seqtrain pretrain``. The share of the device's
own rate counts only the products that are really computed here, against dense bf16 products timed in between.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from benchmark_augmented_step import CHAIN, InMemory, on_device
from timing import natural_proteins, write_report
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import EsmConfig, EsmForMaskedLM

from seqtrain.alphabet import PROTEIN
from seqtrain.augment import keyed, pack
from seqtrain.augment_device import augment_on_device
from seqtrain.batch import Batch
from seqtrain.batching import Examples, Step, microbatches
from seqtrain.draws import Draws
from seqtrain.encode import Tokens
from seqtrain.models.cnn import CNNConfig
from seqtrain.models.heads import LanguageModelHeadConfig
from seqtrain.models.network import BodyConfig, Network, build
from seqtrain.models.transformer import Transformer, TransformerConfig
from seqtrain.objectives import MaskedLM
from seqtrain.optimizers import AdamW
from seqtrain.schedules import Constant
from seqtrain.spans import Spans
from seqtrain.training import LoopConfig, autocast, train_steps

LONGEST = 1022
PAD, MASK = PROTEIN.vocabulary.id("<pad>"), PROTEIN.vocabulary.id("<mask>")
OBJECTIVE = MaskedLM(PROTEIN)


@dataclass(frozen=True)
class Scale:
    """How large everything is."""

    training: tuple[tuple[str, int], ...]
    """Sizes to train, with the sequences of a step."""
    rounds: int
    """Timed steps of each side."""
    side: int
    """Rows of the square matrices whose product is timed."""
    curve: tuple[str, int, int]
    """Size, sequences of a step, and steps of the loss curves."""
    augmented: int
    """Sequences that are augmented at once."""


FULL = Scale((("150M", 64), ("650M", 32)), 8, 8192, ("8M", 32, 60), 100_000)
TINY = Scale((("100K", 4), ("300K", 4)), 2, 256, ("100K", 4, 8), 200)
GOALS = {"150M": {"ratio": 2.5, "share": 0.5}, "650M": {"ratio": 2.5, "share": 0.6}}


def examples_of(texts: list[str]) -> Examples:
    """Proteins as what the training loop reads, cut to the longest length."""
    packed = pack([text[:LONGEST] for text in texts], PROTEIN)
    spans = Spans.whole(np.arange(len(texts)), packed.lengths)
    return Examples(store=InMemory(packed), spans=spans, encoder=Tokens(PROTEIN))


def steps_of(examples: Examples, batch_size: int) -> list[Step]:
    """Steps of a fixed number of sequences."""
    units = np.arange(len(examples) // batch_size * batch_size).reshape(-1, batch_size)
    return [Step(part, np.zeros(batch_size, np.int64), 0) for part in units]


def whole(step: Step, examples: Examples) -> Batch:
    """All sequences of a step in one batch."""
    return next(microbatches(step, examples, 1 << 62))


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds of one piece of work, the device's own included."""
    synchronise(device)
    start = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - start


def matmul_rate(side: int, device: torch.device) -> float:
    """FLOP/s of a dense bf16 product, the median of ten."""
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    taken = [seconds_of(lambda: left @ right, device) for _ in range(12)][2:]
    return 2 * side**3 / median(taken)


def peer_of(config: TransformerConfig, device: torch.device) -> EsmForMaskedLM:
    """The same shape in transformers, on its own random weights."""
    settings = EsmConfig(
        vocab_size=config.vocabulary_size,
        mask_token_id=MASK,
        pad_token_id=PAD,
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.num_heads,
        intermediate_size=config.inner_width,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=config.layer_norm_eps,
        position_embedding_type="rotary",
        token_dropout=True,
        attn_implementation="sdpa",
    )
    return EsmForMaskedLM(settings).to(device).train()


def padded(batch: Batch) -> dict[str, Tensor]:
    """A masked batch as the peer takes it: a rectangle, labels of -100 where nothing was masked."""
    assert batch.decode is not None and batch.targets is not None
    labels = torch.full_like(batch.inputs, -100).index_copy(0, batch.decode, batch.targets)
    lengths = batch.lengths.tolist()
    ids = pad_sequence(list(batch.inputs.split(lengths)), batch_first=True, padding_value=PAD)
    goals = pad_sequence(list(labels.split(lengths)), batch_first=True, padding_value=-100)
    return {"input_ids": ids, "attention_mask": (ids != PAD).long(), "labels": goals}


def peer_step(peer: EsmForMaskedLM, optimizer: torch.optim.Optimizer, batch: Batch, precision: Any) -> float:
    """One update of the peer, in the same precision and with the same clipping; returns the loss."""
    device = next(peer.parameters()).device
    inputs = padded(OBJECTIVE.prepare(batch.to(device), Draws(batch.keys.to(device))))
    with autocast(device, precision):
        loss = peer(**inputs).loss
    loss.backward()
    nn.utils.clip_grad_norm_(peer.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.item())


def our_steps(network: Network, examples: Examples, steps: list[Step], loop: LoopConfig) -> Iterator[float]:
    """The training loop, one microbatch a step; yields losses."""
    optimizer = AdamW(learning_rate=1e-4).build(network)
    batches = ([whole(step, examples)] for step in steps)
    for report in train_steps(network, OBJECTIVE, batches, optimizer, Constant(num_steps=len(steps)), loop):
        yield report.loss


def floating_operations(config: TransformerConfig, lengths: Tensor, num_masked: int) -> float:
    """Of a training step as it is computed here: the last layer's queries, output and feed-forward at masked positions.

    A product of (n, a) by (a, b) counts 2nab; the backward pass computes two for each.
    """
    width, inner, depth = config.width, config.inner_width, config.depth
    tokens, squares = float(lengths.sum()), float((lengths.double() ** 2).sum())
    mean_length = squares / tokens
    per_row = 2 * (2 * width**2 + 2 * width * inner)
    layers = (depth - 1) * (tokens * (per_row + 4 * width**2) + 4 * squares * width)
    last = tokens * 4 * width**2 + num_masked * (per_row + 4 * mean_length * width)
    head = num_masked * 2 * (width**2 + width * config.vocabulary_size)
    return 3 * (layers + last + head)


def training(size: str, batch_size: int, scale: Scale, device: torch.device) -> dict[str, Any]:
    """Seconds of a step on both sides, in turns; a batch too large for the peer is halved for both."""
    while True:
        try:
            return _training(size, batch_size, scale, device)
        except torch.OutOfMemoryError:
            if batch_size == 1:
                raise
        batch_size //= 2
        gc.collect()
        torch.cuda.empty_cache()


def _training(size: str, batch_size: int, scale: Scale, device: torch.device) -> dict[str, Any]:
    config = TransformerConfig.of_size(size)
    examples = examples_of(natural_proteins(batch_size * (scale.rounds + 2)))
    steps = steps_of(examples, batch_size)
    network = build(config, LanguageModelHeadConfig()).to(device)
    loop = LoopConfig(device=device, precision="bf16")
    ours = our_steps(network, examples, steps, loop)
    peer = peer_of(config, device)
    optimizer = torch.optim.AdamW(peer.parameters(), lr=1e-4, fused=True)
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    operations = []
    for number, step in enumerate(steps):
        batch = whole(step, examples)
        work: dict[str, Callable[[], Any]] = {
            "ours": lambda: next(ours),
            "peer": lambda batch=batch: peer_step(peer, optimizer, batch, "bf16"),
        }
        for side in ("ours", "peer") if number % 2 else ("peer", "ours"):
            taken = seconds_of(work[side], device)
            if number >= 2:
                seconds[side].append(taken)
        prepared = OBJECTIVE.prepare(batch, Draws(batch.keys))
        assert prepared.decode is not None
        if number >= 2:
            operations.append(floating_operations(config, batch.lengths, len(prepared.decode)))
    tokens = [int(examples.num_tokens[step.units].sum()) for step in steps[2:]]
    rectangles = [int(examples.num_tokens[step.units].max()) * batch_size for step in steps[2:]]
    rate = matmul_rate(scale.side, device)
    ratios = [theirs / mine for theirs, mine in zip(seconds["peer"], seconds["ours"], strict=True)]
    shares = [count / mine / rate for count, mine in zip(operations, seconds["ours"], strict=True)]
    return {
        "sequences_per_step": batch_size,
        "tokens_per_step": round(median(tokens)),
        "peers_padding_fraction": round(1 - sum(tokens) / sum(rectangles), 3),
        "tokens_per_second": round(median(t / s for t, s in zip(tokens, seconds["ours"], strict=True))),
        "peers_tokens_per_second": round(median(t / s for t, s in zip(tokens, seconds["peer"], strict=True))),
        "ratio": round(median(ratios), 2),
        "teraflops_of_a_dense_product": round(rate / 1e12, 1),
        "share_of_it": round(median(shares), 3),
        "goals": GOALS.get(size, {}),
    }


def loss_curves(scale: Scale, device: torch.device) -> dict[str, Any]:
    """Largest difference between the losses of both sides from the same weights, update by update."""
    size, batch_size, num_steps = scale.curve
    config = TransformerConfig.of_size(size)
    examples = examples_of(natural_proteins(batch_size * num_steps))
    results: dict[str, Any] = {"size": size, "steps": num_steps}
    for precision in ("fp32", "bf16"):
        torch.manual_seed(0)
        network = build(config, LanguageModelHeadConfig()).to(device)
        peer = peer_of(config, device)
        copy_weights(network, peer)
        loop = LoopConfig(device=device, precision=precision)
        # As our optimiser has it: biases, norms and embeddings do not decay.
        groups = AdamW(learning_rate=1e-4).groups(peer)
        optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.98), fused=True)
        steps = steps_of(examples, batch_size)
        mine = list(our_steps(network, examples, steps, loop))
        theirs = [peer_step(peer, optimizer, whole(step, examples), precision) for step in steps]
        gap = max(abs(a - b) for a, b in zip(mine, theirs, strict=True))
        results[precision] = {"largest_difference": round(gap, 6), "first": mine[0], "last": mine[-1]}
    return results


def copy_weights(network: Network, peer: EsmForMaskedLM) -> None:
    """Give the peer our weights."""
    from seqtrain.models.esm import to_esm

    assert isinstance(network.body, Transformer)
    state = to_esm(network.body, network.head)  # type: ignore[arg-type]
    known = peer.state_dict()
    peer.load_state_dict({**known, **{name: tensor for name, tensor in state.items() if name in known}})


def correctness(device: torch.device) -> dict[str, Any]:
    """Differences between this device and the CPU in fp32, and of bf16 from fp32 on this device."""
    bodies: dict[str, BodyConfig] = {
        "transformer": TransformerConfig(width=64, depth=3, num_heads=4),
        "cnn": CNNConfig(width=64, depth=3),
    }
    examples = examples_of(natural_proteins(24))
    batch = whole(steps_of(examples, 24)[0], examples)
    results: dict[str, Any] = {}
    for name, body in bodies.items():
        torch.manual_seed(0)
        network = build(body, LanguageModelHeadConfig()).eval()
        with torch.inference_mode():
            on_cpu = network(batch)
            there = network.to(device)(batch.to(device))
            with autocast(device, "bf16"):
                rounded = network(batch.to(device)).float()
        scale = float(on_cpu.std())
        results[name] = {
            "fp32_against_cpu": float((there.cpu() - on_cpu).abs().max()) / scale,
            "bf16_against_fp32": float((rounded - there).abs().max()) / scale,
        }
    return results


def recompilations(device: torch.device, tiny: bool) -> dict[str, Any]:
    """Graphs compiled while warming up and after it, over steps of ever new shapes."""
    from torch._dynamo.utils import counters

    from seqtrain.models.compiling import compile_layers

    config = TransformerConfig.of_size("100K" if tiny else "150M")
    examples = examples_of(natural_proteins(24 * 16))
    network = build(config, LanguageModelHeadConfig()).to(device)
    counters.clear()
    compile_layers(network)
    loop = LoopConfig(device=device, precision="bf16")
    losses = our_steps(network, examples, steps_of(examples, 16), loop)
    for _ in range(4):
        next(losses)
    warm = counters["stats"]["unique_graphs"]
    taken = [seconds_of(lambda: next(losses), device) for _ in range(20)]
    return {
        "graphs_after_4_steps": warm,
        "graphs_after_24_steps": counters["stats"]["unique_graphs"],
        "seconds_per_step": round(median(taken), 4),
    }


def augmenting(scale: Scale, step_seconds_per_token: float, device: torch.device) -> dict[str, Any]:
    """A chain of five augmenters on the device, as a share of the training step of the first size."""
    texts = natural_proteins(scale.augmented)
    packed, keys = pack(texts, PROTEIN), keyed(len(texts), seed=0)
    there = tuple(torch.tensor(array).to(device) for array in (packed.letters, packed.boundaries, keys.keys))
    taken = [seconds_of(lambda: augment_on_device(CHAIN, *there), device) for _ in range(6)][1:]
    share = median(taken) / len(packed.letters) / step_seconds_per_token
    return {"share_of_step": round(share, 5), "goal": 0.01, **on_device(texts, device, 3)}


def main() -> None:
    """Run all parts, write the JSON, and print a short table last."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small models: a proof, not a measurement")
    options = parser.parse_args()
    device, scale = torch.device(options.device), TINY if options.tiny else FULL
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    started = time.monotonic()
    facts: dict[str, Any] = {"device": name, "tiny": options.tiny, "correctness": correctness(device)}
    facts["training"] = {size: training(size, batch_size, scale, device) for size, batch_size in scale.training}
    first = facts["training"][scale.training[0][0]]
    facts["loss_curves"] = loss_curves(scale, device)
    facts["recompilations"] = recompilations(device, options.tiny)
    facts["augmenters"] = augmenting(scale, 1 / first["tokens_per_second"], device)
    facts["seconds"] = round(time.monotonic() - started, 1)
    file = f"gpu_{device.type}{'_tiny' if options.tiny else ''}"
    write_report(file, "training, compiling and augmenting on a GPU", packages=("torch", "transformers"), **facts)
    print_short(facts)


def print_short(facts: dict[str, Any]) -> None:
    """What a reader wants to see first."""
    print(f"\n{facts['device']}, {facts['seconds']} s")
    for size, result in facts["training"].items():
        print(
            f"{size:>5}: {result['tokens_per_second']:>9,} tokens/s, {result['ratio']} x transformers, "
            f"{result['share_of_it']:.1%} of {result['teraflops_of_a_dense_product']} TFLOP/s, goals {result['goals']}"
        )
    curves, compiled = facts["loss_curves"], facts["recompilations"]
    for precision in ("fp32", "bf16"):
        print(f"loss curves, {precision}: {curves[precision]['largest_difference']} apart at most")
    print(f"graphs: {compiled['graphs_after_4_steps']} after 4 steps, {compiled['graphs_after_24_steps']} after 24")
    print(f"augmenting: {facts['augmenters']['share_of_step']:.2%} of a step")
    for body, gaps in facts["correctness"].items():
        print(f"{body}: fp32 {gaps['fp32_against_cpu']:.1e} from the CPU, bf16 {gaps['bf16_against_fp32']:.1e}")


if __name__ == "__main__":
    main()
