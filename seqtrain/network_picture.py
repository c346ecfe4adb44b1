"""A network drawn from its description, as an SVG file that stands alone and suits light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from seqtrain.dataflow import Flow, Node
from seqtrain.describe import Description, Part

# The ground of its own keeps the picture readable where a page ignores the reader's colour scheme.
_STYLE = """\
text{font:13px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#1f2328}
.bold{font-weight:700}.small{font-size:11px}.quiet{fill:#59636e}.end{text-anchor:end}.middle{text-anchor:middle}
.ground{fill:#fff;stroke:#d0d7de}.inset{fill:#f6f8fa;stroke:#d0d7de}.other{fill:#f6f8fa;stroke:#818b98}
.matrix{fill:#ddf4ff;stroke:#0969da}.convolution{fill:#dafbe1;stroke:#1a7f37}.norm{fill:#eaeef2;stroke:#818b98}
.embedding{fill:#fbefff;stroke:#8250df}.block{fill:#ddf4ff;stroke:#0969da}.function{fill:#fff8c5;stroke:#9a6700}
.edge{fill:none;stroke:#59636e;stroke-width:1.4}.skip{fill:none;stroke:#bc4c00;stroke-width:1.6}
.tip{fill:#59636e}.skiptip{fill:#bc4c00}.zoom{stroke:#818b98;stroke-dasharray:2 4}
.parameters{fill:#0969da}.flops{fill:#bc4c00}
@media (prefers-color-scheme:dark){text{fill:#f0f6fc}.quiet{fill:#9198a1}.ground{fill:#0d1117;stroke:#3d444d}
.inset{fill:#151b23;stroke:#3d444d}.other{fill:#212830;stroke:#656c76}.matrix,.block{fill:#0c2d6b;stroke:#4493f8}
.convolution{fill:#0f4a1f;stroke:#3fb950}.norm{fill:#2a313c;stroke:#656c76}.embedding{fill:#3c1e70;stroke:#ab7df8}
.function{fill:#4b2900;stroke:#d29922}.edge{stroke:#9198a1}.skip{stroke:#f0883e}.tip{fill:#9198a1}.skiptip{fill:#f0883e}
.zoom{stroke:#656c76}.parameters{fill:#4493f8}.flops{fill:#f0883e}}"""

_BOX, _BOX_HEIGHT, _GAP = 480, 56, 28
_CELL, _CELL_HEIGHT, _CELL_GAP = 142, 36, 20
_LETTER = 6.7
"""Width of one letter of a cell; cells grow with their words."""
_LONGEST_NAME = 26
_ROUND = 22
_LANE = 14
_MARGIN = 24


@dataclass(frozen=True)
class _Place:
    """Where a node is drawn."""

    x: float
    """Of its middle."""
    top: float
    width: float
    height: float

    @property
    def bottom(self) -> float:
        return self.top + self.height

    @property
    def middle(self) -> float:
        return self.top + self.height / 2


def network_picture(description: Description) -> str:
    """The parts from top to bottom, equal ones once, with what is inside of each kind beside them."""
    parts = {part.name: part for part in description.parts}
    nodes = [node for node in description.flow.nodes if node.name in parts or node.label is not None]
    lanes = _lanes([node.name for node in nodes], description.flow.edges)
    left = _MARGIN + 8 + _LANE * (max(lanes.values(), default=-1) + 1)
    places, y = {}, 72.0
    for node in nodes:
        places[node.name] = _Place(left + _BOX / 2, y, _BOX, _BOX_HEIGHT if node.label is None else _ROUND)
        y = places[node.name].bottom + _GAP
    edges = [edge for edge in description.flow.edges if edge[0] in places and edge[1] in places]
    drawn = [_edge(places[start], places[end]) for start, end in edges if (start, end) not in lanes]
    drawn += [_bracket(places[a], places[b], left - 8 - _LANE * lane) for (a, b), lane in lanes.items()]
    for node in nodes:
        if node.label is None:
            drawn += _part(parts[node.name], places[node.name], description)
        else:
            drawn.append(_function(node, places[node.name]))
    insets, right, bottom = _insets(description, places, left + _BOX + 64)
    height = max(y - _GAP, bottom) + 62
    head = [
        _text(_MARGIN, 30, description.title, "bold"),
        _text(_MARGIN, 48, _totals(description), "small quiet"),
        *_legend(_MARGIN, height - 40, description),
    ]
    return _file(max(right, left + _BOX) + _MARGIN, height, description.title, [*head, *insets, *drawn])


def short(number: float) -> str:
    """A count to three digits: 512, 7.40 M, 19.0 G."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.3g}"


def _totals(description: Description) -> str:
    return f"{description.parameters:,} parameters, {short(description.flops_per_residue)} FLOPs per residue"


def _lanes(order: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """The lane of each edge that passes by other nodes; short ones lie within long ones."""
    index = {name: number for number, name in enumerate(order)}
    known = [edge for edge in edges if edge[0] in index and edge[1] in index]
    passing = sorted((index[b] - index[a], a, b) for a, b in known if index[b] - index[a] > 1)
    taken: list[list[tuple[int, int]]] = []
    lanes = {}
    for _, start, end in passing:
        span = (index[start], index[end])
        lane = next(
            (i for i, spans in enumerate(taken) if all(span[1] <= a or b <= span[0] for a, b in spans)), len(taken)
        )
        taken += [[]] if lane == len(taken) else []
        taken[lane].append(span)
        lanes[start, end] = lane
    return lanes


def _part(part: Part, place: _Place, description: Description) -> list[str]:
    x, top = place.x - place.width / 2, place.top
    colour = _colour(part.kind, "other" if part.name == "head" else "block")
    # Sheets behind the first say that there are more of the same.
    sheets = [_box(x + 4 * n, top + 4 * n, _BOX, _BOX_HEIGHT, colour) for n in (2, 1)] * (part.count > 1)
    shape = "" if part.shape is None or part.letters is None else f"({', '.join(part.letters)})"
    numbers = "" if part.shape is None else " × ".join(map(str, part.shape))
    times = f"{part.count} × " if part.count > 1 else ""
    work = f"{short(part.parameters)} parameters, {short(part.flops / description.length)} FLOPs/residue"
    shares = [part.parameters / max(description.parameters, 1), part.flops / max(description.flops, 1)]
    return [
        *sheets,
        _box(x, top, _BOX, _BOX_HEIGHT, colour),
        _text(x + 10, top + 19, _cut(part.name), "bold"),
        _text(x + _BOX - 10, top + 19, f"{shape}  {numbers}" if numbers != shape else shape, "end small"),
        _text(x + 10, top + 37, f"{times}{part.kind}", "small"),
        _text(x + _BOX - 10, top + 37, work, "end small"),
        _bar(x + 10, top + 44, shares[0] * (_BOX - 20), "parameters"),
        _bar(x + 10, top + 49, shares[1] * (_BOX - 20), "flops"),
    ]


def _insets(description: Description, places: dict[str, _Place], left: float) -> tuple[list[str], float, float]:
    """What is inside of parts, below each other; also where they end on the right and below."""
    drawn: list[str] = []
    right, y = left - 64, 72.0
    for part in description.parts:
        if part.inside is None or part.name not in places:
            continue
        y = max(y, min(places[part.name].top, y + 200))
        title = f"inside of {part.kind}" + (", each" if part.count > 1 else "")
        inner, width, height = _inner(part.inside, left + 14, y + 40)
        width = max(width, _LETTER * len(title))
        corner = places[part.name].x + _BOX / 2 + (8 if part.count > 1 else 0)
        drawn += [
            f'<path class="zoom" d="M{corner:g} {places[part.name].middle:g}L{left:g} {y + 18:g}" fill="none"/>',
            _box(left, y, width + 28, height + 54, "inset"),
            _text(left + 14, y + 22, title, "small quiet"),
            *inner,
        ]
        right, y = max(right, left + width + 28), y + height + 54 + _GAP
    return drawn, right, y - _GAP


def _inner(flow: Flow, left: float, top: float) -> tuple[list[str], float, float]:
    """A flow in rows: what is computed from the same stands side by side. Also its width and height."""
    ranks = _ranks(flow)
    rows = [[node for node in flow.nodes if ranks[node.name] == rank] for rank in range(max(ranks.values()) + 1)]
    widths = [sum(_size(node)[0] for node in row) + 10 * (len(row) - 1) for row in rows]
    places, y = {}, top
    for row, width in zip(rows, widths, strict=True):
        x = left + (max(widths) - width) / 2
        height = max(_size(node)[1] for node in row)
        for node in row:
            own, own_height = _size(node)
            places[node.name] = _Place(x + own / 2, y + (height - own_height) / 2, own, own_height)
            x += own + 10
        y += height + _CELL_GAP
    lanes = _lanes([str(rank) for rank in range(len(rows))], [(str(ranks[a]), str(ranks[b])) for a, b in flow.edges])
    drawn = []
    for start, end in flow.edges:
        lane = lanes.get((str(ranks[start]), str(ranks[end])))
        if lane is None:
            drawn.append(_edge(places[start], places[end]))
        else:
            drawn.append(_detour(places[start], places[end], left + max(widths) + 12 + _LANE * lane))
    drawn += [_function(n, places[n.name]) if n.label is not None else _cell(n, places[n.name]) for n in flow.nodes]
    lanes_width = 12 + _LANE * max(lanes.values(), default=-1) if lanes else 0
    return drawn, max(widths) + lanes_width, y - _CELL_GAP - top


def _ranks(flow: Flow) -> dict[str, int]:
    """The longest way to each node from what comes in; a node is drawn next to the last one that feeds it."""
    ranks: dict[str, int] = {node.name: 0 for node in flow.nodes}
    for _ in flow.nodes:
        for start, end in flow.edges:
            ranks[end] = max(ranks[end], ranks[start] + 1)
    # What comes in late stands right above the first node that it feeds.
    for node in flow.nodes:
        if not flow.into(node.name) and (fed := flow.out_of(node.name)):
            ranks[node.name] = min(ranks[name] for name in fed) - 1
    return ranks


def _size(node: Node) -> tuple[float, float]:
    if node.label is None:
        return max(_CELL, round(16 + _LETTER * max(len(_cut(node.name)), len(node.detail)))), _CELL_HEIGHT
    return (_ROUND if len(node.label) == 1 else 16 + 7.2 * len(node.label)), _ROUND


def _cell(node: Node, place: _Place) -> str:
    parts = [
        _box(place.x - place.width / 2, place.top, place.width, _CELL_HEIGHT, _colour(node.detail, "other")),
        _text(place.x, place.top + 15, _cut(node.name), "middle small bold"),
        _text(place.x, place.top + 29, node.detail, "middle small"),
    ]
    return "".join(parts)


def _function(node: Node, place: _Place) -> str:
    label = node.label or ""
    width = _size(node)[0]
    kind = "other" if label == "output" or label == node.name else "function"
    return (
        f'<rect class="{kind}" x="{place.x - width / 2:g}" y="{place.top:g}" width="{width:g}" height="{_ROUND}" '
        f'rx="{_ROUND / 2:g}"/>' + _text(place.x, place.top + 15, label, "middle small")
    )


def _edge(start: _Place, end: _Place) -> str:
    bend = "" if start.x == end.x else f"V{end.top - _CELL_GAP / 2:g}H{end.x:g}"
    return f'<path class="edge" d="M{start.x:g} {start.bottom:g}{bend}V{end.top - 5:g}"/>' + _down(
        end.x, end.top, "tip"
    )


def _bracket(start: _Place, end: _Place, lane: float) -> str:
    """A way around the left of the boxes."""
    edge, y = end.x - end.width / 2, end.middle
    return (
        f'<path class="skip" d="M{start.x - start.width / 2:g} {start.middle:g}H{lane:g}V{y:g}H{edge - 5:g}"/>'
        f'<path class="skiptip" d="M{edge:g} {y:g}l-7 -4v8z"/>'
    )


def _detour(start: _Place, end: _Place, lane: float) -> str:
    """A way around the right of the cells, through the gap below the start, into the side of the end."""
    edge = end.x + end.width / 2
    return (
        f'<path class="skip" d="M{start.x:g} {start.bottom:g}v6H{lane:g}V{end.middle:g}H{edge + 5:g}"/>'
        f'<path class="skiptip" d="M{edge:g} {end.middle:g}l7 -4v8z"/>'
    )


def _down(x: float, y: float, kind: str) -> str:
    return f'<path class="{kind}" d="M{x:g} {y:g}l-4 -7h8z"/>'


def _colour(kind: str, otherwise: str) -> str:
    for word, colour in (
        ("Embedding", "embedding"),
        ("Norm", "norm"),
        ("Conv", "convolution"),
        ("Linear", "matrix"),
    ):
        if word in kind:
            return colour
    return otherwise


def _legend(x: float, y: float, description: Description) -> list[str]:
    positions = f"T = {description.num_positions} positions of a sequence of {description.length:,} residues"
    return [
        _bar(x, y - 5, 18, "parameters"),
        _text(x + 24, y, "share of the parameters", "small quiet"),
        _bar(x + 200, y - 5, 18, "flops"),
        _text(x + 224, y, "share of the FLOPs", "small quiet"),
        _text(x, y + 20, positions + f", D = {description.width}", "small quiet"),
    ]


def _cut(name: str) -> str:
    """The end of a long name tells more than its beginning."""
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"/>'


def _bar(x: float, y: float, width: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{max(width, 1):.1f}" height="3"/>'


def _file(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" aria-label="{escape(title, quote=True)}">\n<style>{_STYLE}</style>\n'
        f'<rect class="ground" x="0.5" y="0.5" width="{width - 1:g}" height="{height - 1:g}" rx="6"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
