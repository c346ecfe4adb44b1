"""What a network is made of: its parts with output shapes, parameters and the work of a forward pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from torch import nn

from seqtrain.dataflow import Flow, Node, trace
from seqtrain.models.decoder_head import DecoderHead
from seqtrain.models.heads import LanguageModelHead
from seqtrain.models.network import Network
from seqtrain.probe import NUM_SPECIAL, Measured, Probe, measure_probe, probe_network
from seqtrain.shape_letters import ShapeLetters
from seqtrain.words import name_of

_MOST_INNER = 40
"""A part with more nodes inside is drawn closed."""
_OWN = "parameters of its own"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A module of a network, or several equal ones in a row."""

    name: str
    kind: str
    """Its class."""
    shape: tuple[int, ...] | None
    """Of what it returns for one sequence; None for what is never called as a whole."""
    letters: tuple[str, ...] | None
    """The same in letters, where these are known: T positions, D width, V ids, K outputs."""
    parameters: int
    """Of all of the equal ones; those shared with an earlier part count there."""
    flops: int
    """Of all of the equal ones, in the forward pass of one sequence."""
    count: int = 1
    inside: Flow | None = None
    """How its modules feed each other; None for a single module, or where it was not asked for."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """A network in figures. Floating-point operations (FLOPs) are those of matrix products, convolutions and
    attention, a multiplication and an addition being two; the rest is too little to count.
    """

    title: str
    length: int
    """Residues of the sequence that shapes and FLOPs are given for."""
    num_positions: int
    """T, special tokens included."""
    width: int
    """D"""
    parts: tuple[Part, ...]
    flow: Flow
    """Between the parts, by their names."""
    parameters: int
    flops: int
    """Of the forward pass of one sequence."""
    weight_bytes: int
    receptive_field: int | None
    """Positions that an output depends on at most; None where it may depend on all of them."""

    @property
    def flops_per_residue(self) -> float:
        """Of the forward pass; a training step takes about three times as many."""
        return self.flops / self.length

    def notes(self) -> list[str]:
        """What to know about the figures, and the two that belong to no part."""
        megabytes = self.weight_bytes / 1e6
        lines = [
            f"for one sequence of {self.length:,} residues: T = {self.num_positions:,} positions; D = {self.width:,}",
            "FLOPs: forward pass, of matrix products, convolutions and attention; a training step takes about 3 times "
            "as many",
            f"memory: {megabytes:,.1f} MB of weights, {4 * megabytes:,.1f} MB with their gradients and the moments of "
            "AdamW; activations come on top (seqtrain plan measures them)",
        ]
        if self.receptive_field is not None:
            lines.append(f"receptive field: an output depends on at most {self.receptive_field:,} positions")
        return lines


def describe_network(network: Network, *, length: int = 512, inside: bool = False) -> Description:
    """Run a copy of the network on one sequence, without its weights where that works, and note what happens.

    Args:
        length: residues; the work of attention grows with it.
        inside: also how the modules of each kind of part feed each other, for a picture.
    """
    probe = probe_network(network, length)
    measured = measure_probe(probe)
    rows = list(_rows(probe, measured))
    positions, width = length + NUM_SPECIAL, network.body.width
    modules: dict[str, nn.Module] = {}
    parts = []
    for row in rows:
        shape = None if row.module is None else measured.shapes.get(row.module)
        sizes = ShapeLetters(positions, width, _outputs(network) if row.module is probe.head else None)
        if row.module is not None:
            modules[row.name] = row.module
        parts.append(
            Part(
                name=row.name,
                kind=_OWN if row.module is None else type(row.module).__name__,
                shape=shape,
                letters=None if shape is None else sizes.letters(shape),
                parameters=row.parameters,
                flops=row.flops,
            )
        )
    grouped, flow = _grouped(parts, _flow(probe, rows, measured))
    if inside:
        grouped = list(_opened(grouped, probe, modules, measured, ShapeLetters(positions, width)))
    tensors = {id(tensor): tensor for tensor in [*network.parameters(), *network.buffers()]}.values()
    return Description(
        title=title_of(network),
        length=length,
        num_positions=positions,
        width=width,
        parts=tuple(grouped),
        flow=flow,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        flops=measured.total,
        weight_bytes=sum(tensor.numel() * tensor.element_size() for tensor in tensors),
        receptive_field=_receptive_field(probe, measured, positions),
    )


def title_of(network: Network) -> str:
    """The kinds of body and head."""
    return f"{name_of(type(network.body.config))} with {name_of(type(network.head.config))}"


def _outputs(network: Network) -> tuple[int, str] | None:
    """The last number of the head's result, and its letter."""
    config = network.head.config
    if isinstance(network.head, LanguageModelHead | DecoderHead):
        return network.head.config.vocabulary_size, "V"
    outputs = getattr(config, "outputs", None)
    return None if outputs is None else (int(outputs), "K")


@dataclass(frozen=True)
class _Row:
    """A part before its neighbours are looked at."""

    name: str
    module: nn.Module | None
    """None for what an opened module holds by itself."""
    parameters: int
    flops: int


def _flow(probe: Probe, rows: list[_Row], measured: Measured) -> Flow:
    flow = trace(probe.run, {row.module: row.name for row in rows if row.module and row.module in measured.shapes})
    # A head that is computed on zeros of its own is fed by the body all the same.
    if flow.nodes and not flow.into("head"):
        ends = [node.name for node in flow.nodes if node.name not in ("head", "output") and not flow.out_of(node.name)]
        flow.edges += [(end, "head") for end in ends[-1:]]
    return flow


def _rows(probe: Probe, measured: Measured) -> Iterator[_Row]:
    seen: set[int] = set()

    def fresh(parameters: Iterable[nn.Parameter]) -> int:
        new = {id(parameter): parameter.numel() for parameter in parameters if id(parameter) not in seen}
        seen.update(new)
        return sum(new.values())

    counted = 0
    for name, module in _parts("", probe.body):
        parameters, flops = fresh(module.parameters()), measured.flops.get(module, 0)
        counted += flops
        if parameters or flops:
            yield _Row(name, module, parameters, flops)
    flops_of_head = measured.flops.get(probe.head, 0)
    rest, work = fresh(probe.body.parameters()), measured.total - counted - flops_of_head
    if rest or work:
        yield _Row("body", None, rest, work)
    yield _Row("head", probe.head, fresh(probe.head.parameters()), flops_of_head)


def _parts(prefix: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The children of a module; rows of modules, and modules around such rows, are opened."""
    for name, child in module.named_children():
        if isinstance(child, nn.ModuleList | nn.ModuleDict):
            for key, member in child.named_children():
                if isinstance(member, nn.ModuleList | nn.ModuleDict):
                    yield from _parts(f"{prefix}{name}.{key}.", member)
                else:
                    yield f"{prefix}{name}.{key}", member
        elif any(isinstance(each, nn.ModuleList) and len(each) > 1 for each in child.modules()):
            yield from _parts(f"{prefix}{name}.", child)
        else:
            yield f"{prefix}{name}", child


def _opened(
    parts: list[Part], probe: Probe, modules: dict[str, nn.Module], measured: Measured, sizes: ShapeLetters
) -> Iterator[Part]:
    """The parts, the first of each kind in the body with what is inside of it."""
    kinds = set()
    for part in parts:
        module = modules.get(part.name.partition(" – ")[0])
        if module is None or module is probe.head or module not in measured.shapes or part.kind in kinds:
            yield part
            continue
        kinds.add(part.kind)
        names = dict(_innermost(module, measured))
        if len(names) < 2:
            yield part
            continue
        details = {}
        for child, name in names.items():
            last = sizes.width_letter(measured.shapes[child][-1])
            details[name] = type(child).__name__ + ("" if last == "D" else f" → {last}")
        flow = trace(probe.run, names, module)
        flow.nodes = [replace(node, detail=details.get(node.name, "")) for node in flow.nodes]
        yield replace(part, inside=flow if len(flow.nodes) <= _MOST_INNER else None)


def _innermost(module: nn.Module, measured: Measured) -> Iterator[tuple[nn.Module, str]]:
    """The modules with weights that were called and have none inside that were called."""
    called = {child for child in module.modules() if child in measured.shapes and _weighs(child)} - {module}
    for name, child in module.named_modules():
        if child in called and not any(each in called for each in child.modules() if each is not child):
            yield child, name


def _weighs(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def _grouped(parts: list[Part], flow: Flow) -> tuple[list[Part], Flow]:
    """Neighbours that are alike and only feed each other become one part; the flow follows."""
    groups: list[list[Part]] = []
    for part in parts:
        last = groups[-1][-1] if groups else None
        if last is not None and _alike(last, part) and _is_chained(last, part, flow):
            groups[-1].append(part)
        else:
            groups.append([part])
    renamed = {part.name: _name_of_group(group) for group in groups for part in group}
    merged = Flow()
    for node in flow.nodes:
        new = Node(renamed.get(node.name, node.name), node.label)
        if new not in merged.nodes:
            merged.nodes.append(new)
    for start, end in flow.edges:
        edge = (renamed.get(start, start), renamed.get(end, end))
        if edge[0] != edge[1] and edge not in merged.edges:
            merged.edges.append(edge)
    together = [
        replace(
            group[0],
            name=_name_of_group(group),
            count=len(group),
            parameters=sum(part.parameters for part in group),
            flops=sum(part.flops for part in group),
        )
        for group in groups
    ]
    return together, merged


def _alike(one: Part, other: Part) -> bool:
    return replace(one, name="", inside=None) == replace(other, name="", inside=None)


def _is_chained(one: Part, other: Part, flow: Flow) -> bool:
    """Whether the one feeds nothing but the other, and the other is fed by nothing that does not feed the one too."""
    return flow.out_of(one.name) == [other.name] and set(flow.into(other.name)) - {one.name} <= set(flow.into(one.name))


def _name_of_group(group: list[Part]) -> str:
    first, last = group[0].name, group[-1].name
    return first if len(group) == 1 else f"{first} – {last.rpartition('.')[2]}"


def _receptive_field(probe: Probe, measured: Measured, positions: int) -> int | None:
    """1 + sum of (kernel size - 1) * dilation over the convolutions, if nothing else moves between positions.

    That is so when there is no attention and no convolution, pooling or other part that changes the number of rows.
    """
    convolutions = [module for module in probe.body.modules() if isinstance(module, nn.Conv1d)]
    plain = all(convolution.stride == (1,) for convolution in convolutions)
    resized = [shape for module, shape in measured.shapes.items() if module in set(probe.body.modules())]
    if not convolutions or not plain or measured.attends or any(positions not in shape for shape in resized):
        return None
    return 1 + sum((each.kernel_size[0] - 1) * each.dilation[0] for each in convolutions)
