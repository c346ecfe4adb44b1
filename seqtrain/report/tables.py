"""Tables of a page: figures beside their baselines, and rows of cells."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from seqtrain.evaluation.metrics import TITLES, is_better
from seqtrain.report.axes import number
from seqtrain.report.bar_charts import interval_chart
from seqtrain.report.canvas import NUM_COLOURS
from seqtrain.report.records import Figure, Table, WorstRecord

_WORDY = 24
_WIDE = 3
"""Baselines above which models stand in rows."""
_TALL = 30
"""Rows above which a table scrolls in a box of its own."""


def figure_tables(figures: Sequence[Figure]) -> str:
    """One table per test set, in the order of first mention."""
    test_sets = list(dict.fromkeys(figure.test_set for figure in figures))
    tables = [_figure_table(name, [each for each in figures if each.test_set == name]) for name in test_sets]
    return "\n".join(tables) + _figure_note(figures)


def metric_title(metric: str) -> str:
    """A metric in words; ``mse[acid]`` keeps its column."""
    name, bracket, column = metric.partition("[")
    title = TITLES.get(name) or name[:1].upper() + name[1:].replace("_", " ")
    return f"{title}, {column.removesuffix(']')}" if bracket else title


def worst_table(records: Sequence[WorstRecord]) -> str:
    """Records by falling loss, with their nearest training records where they were looked for."""
    if any(each.nearest or each.identity == each.identity for each in records):
        header = ("record", "true", "predicted", "loss", "nearest training record", "its label", "identity")
        rows = tuple(
            (each.identifier, each.true, each.predicted, each.loss, each.nearest, each.nearest_label, each.identity)
            for each in records
        )
        return table(Table(header=header, rows=rows))
    plain = tuple((each.identifier, each.true, each.predicted, each.loss) for each in records)
    return table(Table(header=("record", "true", "predicted", "loss"), rows=plain))


def table(given: Table | None) -> str:
    """A table that scrolls where it is too wide or too tall; "" where it is empty."""
    if given is None or not given.rows:
        return ""
    numeric = [_is_numeric(column) for column in zip(*given.rows, strict=True)]
    kinds = [' class="n"' if number_column else "" for number_column in numeric]
    head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(given.header, kinds, strict=True))
    rows = []
    for row in given.rows:
        cells = "".join(_cell(cell, kind) for cell, kind in zip(row, kinds, strict=True))
        rows.append(f"<tr>{cells}</tr>")
    body = f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    title = f"<h3>{escape(given.title)}</h3>" if given.title else ""
    return title + _scrolling(body, given.title or " ".join(given.header), tall=len(given.rows) > _TALL)


def _figure_table(test_set: str, figures: Sequence[Figure]) -> str:
    baselines = list(dict.fromkeys(name for figure in figures for name, _ in figure.baselines))
    if len(baselines) > _WIDE:
        return _model_table(test_set, figures, baselines)
    pictures = [interval_chart(figure) for figure in figures]
    head = '<th scope="col">Metric</th><th scope="col" class="n">This model</th>'
    head += '<th scope="col" class="pic"><span hidden>picture</span></th>' if any(pictures) else ""
    head += "".join(
        f'<th scope="col" class="n" title="{escape(name)}">{escape(_brief(name))}</th>' for name in baselines
    )
    rows = []
    for figure, picture in zip(figures, pictures, strict=True):
        others = dict(figure.baselines)
        cells = f'<td class="n{_best(figure, figure.value)}">{number(figure.value)}{_interval(figure)}</td>'
        cells += f'<td class="pic">{picture}</td>' if any(pictures) else ""
        for name in baselines:
            value = others.get(name, float("nan"))
            cells += f'<td class="n{_best(figure, value)}">{number(value)}</td>'
        rows.append(f'<tr><th scope="row">{escape(metric_title(figure.metric))}</th>{cells}</tr>')
    title = f"<h3>{escape(test_set)}</h3>" if test_set else ""
    body = f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    return title + _scrolling(body, test_set or "Key figures") + (_figure_key(baselines) if baselines else "")


def _model_table(test_set: str, figures: Sequence[Figure], baselines: Sequence[str]) -> str:
    """One row per model: many of them as columns would be too wide to see at once."""
    titles = "".join(f'<th scope="col" class="n">{escape(metric_title(figure.metric))}</th>' for figure in figures)
    own = "".join(
        f'<td class="n{_best(figure, figure.value)}">{number(figure.value)}{_interval(figure)}</td>'
        for figure in figures
    )
    rows = [f'<tr><th scope="row"><span class="dot"></span>this model</th>{own}</tr>']
    strips = [interval_chart(figure) for figure in figures]
    if any(strips):
        cells = "".join(f'<td class="n pic">{strip}</td>' for strip in strips)
        rows.append(f'<tr class="strips"><th scope="row">among the others</th>{cells}</tr>')
    for index, name in enumerate(baselines):
        values = [dict(figure.baselines).get(name, float("nan")) for figure in figures]
        cells = "".join(
            f'<td class="n{_best(figure, value)}">{number(value)}</td>'
            for figure, value in zip(figures, values, strict=True)
        )
        mark = f'<span class="diamond {_colour(index)}"></span>'
        rows.append(f'<tr><th scope="row">{mark}{escape(name)}</th>{cells}</tr>')
    title = f"<h3>{escape(test_set)}</h3>" if test_set else ""
    head = f'<thead><tr><th scope="col">Model</th>{titles}</tr></thead>'
    body = f'<table class="figures models key">{head}<tbody>{"".join(rows)}</tbody></table>'
    return title + _scrolling(body, test_set or "Key figures")


def _best(figure: Figure, value: float) -> str:
    """The CSS class of a value that no other of its figure beats, where there are others."""
    others = (figure.value, *(other for _, other in figure.baselines))
    beaten = value != value or any(is_better(figure.metric, other, value) for other in others)
    return "" if beaten or not figure.baselines else " best"


def _interval(figure: Figure) -> str:
    return f"<small>{number(figure.low)} to {number(figure.high)}</small>" if figure.low == figure.low else ""


def _colour(index: int) -> str:
    """Of a baseline in a picture, as :func:`seqtrain.report.bar_charts.interval_chart` has it."""
    return f"c{(index + 1) % NUM_COLOURS + 1}"


def _brief(baseline: str) -> str:
    """A baseline without what follows its comma, such as a cap, which the key beside the pictures gives in full."""
    return baseline.partition(", ")[0]


def _figure_key(baselines: Sequence[str]) -> str:
    items = '<li><span class="dot"></span>this model</li>'
    for index, name in enumerate(baselines):
        items += f'<li><span class="diamond {_colour(index)}"></span>{escape(name)}</li>'
    return f'<ul class="key">{items}</ul>'


def _figure_note(figures: Sequence[Figure]) -> str:
    sentences = []
    if any(figure.low == figure.low for figure in figures):
        sentences.append("Below each score and as a bar: its 95 % interval, by bootstrap over records.")
    if any(figure.baselines for figure in figures):
        sentences.append("The best by each metric is bold; each picture has a scale of its own.")
    return f'<p class="note">{" ".join(sentences)}</p>' if sentences else ""


def _cell(cell: str | int | float, kind: str) -> str:
    if isinstance(cell, int | float):
        return f"<td{kind}>{number(cell)}</td>"
    wide = ' class="w"' if len(cell) > _WORDY else ""
    return f"<td{kind or wide}>{escape(cell)}</td>"


def _is_numeric(column: Sequence[str | int | float]) -> bool:
    """Whether a column holds numbers, or the text of numbers only."""
    if any(isinstance(cell, int | float) for cell in column):
        return True
    try:
        return bool([float(cell) for cell in column if cell != ""])
    except ValueError:
        return False


def _scrolling(content: str, label: str, *, tall: bool = False) -> str:
    """A box that scrolls on narrow screens, by keyboard too."""
    kind = "scroll tall" if tall else "scroll"
    return f'<div class="{kind}" role="region" tabindex="0" aria-label="{escape(label)}">{content}</div>'
