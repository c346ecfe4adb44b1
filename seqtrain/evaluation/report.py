"""report.html: one file that tells what a run did, what it is worth and how to repeat it, without any other file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from seqtrain.evaluation.axes import number
from seqtrain.evaluation.charts import (
    MAX_POINTS,
    NUM_COLOURS,
    confusion_chart,
    interval_chart,
    line_chart,
    scatter_chart,
    smoothing,
)
from seqtrain.evaluation.metrics import TITLES, is_better
from seqtrain.evaluation.page import SCRIPT, STYLE
from seqtrain.evaluation.records import Confusion, Curve, Figure, Report, Scatter, Table, WorstRecord
from seqtrain.io.run_directory import write_text_atomically

_WORDY = 24


def write_report(path: Path, report: Report) -> None:
    """Write report.html; an older one stays until the new one is whole.

    Raises:
        InputError: the folder is not writable.
        RunError: the disk is full.
    """
    # Names in files may hold bytes that are no text; a report shows them as question marks.
    write_text_atomically(path, report_html(report).encode("utf-8", "replace").decode("utf-8"))


def report_html(report: Report) -> str:
    """The page as text."""
    parts = [
        ("figures", "Key figures", _figures(report.figures)),
        ("curves", "Curves", _curves(report.curves)),
        ("scatters", "Predicted and true values", _scatters(report.scatters)),
        ("confusions", "Confusions", _confusions(report.confusions)),
        ("classes", "Classes", _table(report.classes)),
        ("worst", "Worst predictions", _worst(report.worst)),
        ("splits", "Sets", _table(report.splits)),
        ("ledger", "Ledger of records", _table(report.ledger)),
        ("configuration", "Configuration", _pairs(report.configuration)),
        ("environment", "Environment", _pairs(report.environment)),
    ]
    parts = [part for part in parts if part[2]]
    links = "".join(f'<a href="#{key}">{title}</a>' for key, title, _ in parts)
    sections = "\n".join(
        f'<section id="{key}"><h2>{title}</h2>\n{content}\n</section>' for key, title, content in parts
    )
    navigation = f'<nav aria-label="Sections">{links}</nav>' if len(parts) > 1 else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(report.title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<header>
<h1>{escape(report.title)}</h1>
{_summary(report.summary)}
{_command(report.command)}
{navigation}
</header>
{sections}
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _summary(sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    lead, *more = (escape(sentence) for sentence in sentences)
    items = "".join(f"<li>{sentence}</li>" for sentence in more)
    return f'<p class="lead">{lead}</p>' + (f'<ul class="more">{items}</ul>' if items else "")


def _command(command: str) -> str:
    """A command that wraps between its words, not inside ``--option``."""
    words = re.sub(r"(?<!\S)(-[\w-]+)", r"<span>\1</span>", escape(command))
    return f"<pre><code>{words}</code></pre>" if command else ""


def _figures(figures: Sequence[Figure]) -> str:
    """One table per test set, in the order of first mention."""
    test_sets = list(dict.fromkeys(figure.test_set for figure in figures))
    tables = [_figure_table(name, [each for each in figures if each.test_set == name]) for name in test_sets]
    return "\n".join(tables) + _figure_note(figures)


def _figure_table(test_set: str, figures: Sequence[Figure]) -> str:
    baselines = list(dict.fromkeys(name for figure in figures for name, _ in figure.baselines))
    pictures = [interval_chart(figure) for figure in figures]
    head = '<th scope="col">Metric</th><th scope="col" class="n">This model</th>'
    head += '<th scope="col" class="pic"><span hidden>picture</span></th>' if any(pictures) else ""
    head += "".join(
        f'<th scope="col" class="n" title="{escape(name)}">{escape(_brief(name))}</th>' for name in baselines
    )
    rows = []
    for figure, picture in zip(figures, pictures, strict=True):
        interval = ""
        if figure.low == figure.low:
            interval = f"<small>{number(figure.low)} to {number(figure.high)}</small>"
        others = dict(figure.baselines)
        leads = not any(is_better(figure.metric, other, figure.value) for other in others.values())
        cells = f'<td class="n{" best" if leads and others else ""}">{number(figure.value)}{interval}</td>'
        cells += f'<td class="pic">{picture}</td>' if any(pictures) else ""
        for name in baselines:
            value = others.get(name, float("nan"))
            beaten = any(is_better(figure.metric, other, value) for other in (figure.value, *others.values()))
            cells += f'<td class="n{"" if beaten or value != value else " best"}">{number(value)}</td>'
        rows.append(f'<tr><th scope="row">{escape(metric_title(figure.metric))}</th>{cells}</tr>')
    title = f"<h3>{escape(test_set)}</h3>" if test_set else ""
    body = f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    return title + _scrolling(body, test_set or "Key figures") + (_figure_key(baselines) if baselines else "")


def _brief(baseline: str) -> str:
    """A baseline without what follows its comma, such as a cap, which the key beside the pictures gives in full."""
    return baseline.partition(", ")[0]


def _figure_key(baselines: Sequence[str]) -> str:
    items = '<li><span class="dot"></span>this model</li>'
    for index, name in enumerate(baselines):
        colour = f"c{(index + 1) % NUM_COLOURS + 1}"
        items += f'<li><span class="diamond {colour}"></span>{escape(name)}</li>'
    return f'<ul class="key">{items}</ul>'


def _figure_note(figures: Sequence[Figure]) -> str:
    sentences = []
    if any(figure.low == figure.low for figure in figures):
        sentences.append("Below each score and as a bar: its 95 % interval, by bootstrap over records.")
    if any(figure.baselines for figure in figures):
        sentences.append("The best of each row is bold; each row is drawn on a scale of its own.")
    return f'<p class="note">{" ".join(sentences)}</p>' if sentences else ""


def metric_title(metric: str) -> str:
    """A metric in words; ``mse[acid]`` keeps its column."""
    name, bracket, column = metric.partition("[")
    title = TITLES.get(name) or name[:1].upper() + name[1:].replace("_", " ")
    return f"{title}, {column.removesuffix(']')}" if bracket else title


def _curves(curves: Sequence[Curve]) -> str:
    drawn = []
    for index, curve in enumerate(curves):
        if not any(len(series.x) for series in curve.series):
            continue
        names = "".join(
            f'<li><span class="c{i % NUM_COLOURS + 1}"></span>{escape(series.name)}</li>'
            for i, series in enumerate(curve.series)
        )
        widths = {smoothing(series) for series in curve.series} - {1}
        if widths:
            names += (
                f"<li>faint: every value; line: mean of {' or '.join(f'{width:,}' for width in sorted(widths))}</li>"
            )
        key = f'<ul class="key">{names}</ul>' if len(curve.series) > 1 or widths else ""
        chart = line_chart(curve, f"curve{index}")
        drawn.append(f"<figure><figcaption>{escape(curve.title)}</figcaption>{key}{chart}</figure>")
    return _charts(drawn)


def _scatters(scatters: Sequence[Scatter]) -> str:
    drawn = []
    for index, scatter in enumerate(scatters):
        if not len(scatter.true):
            continue
        shown = f"{len(scatter.true):,} records"
        if len(scatter.true) > MAX_POINTS:
            shown = f"{MAX_POINTS:,} of {shown}, drawn at random"
        name = " · ".join(part for part in (scatter.test_set, scatter.label) if part)
        caption = f"{escape(name)} <small>{shown}</small>"
        chart = scatter_chart(scatter, f"scatter{index}")
        drawn.append(f"<figure><figcaption>{caption}</figcaption>{chart}</figure>")
    return _charts(drawn)


def _confusions(confusions: Sequence[Confusion]) -> str:
    drawn = []
    for index, confusion in enumerate(confusions):
        if not confusion.labels:
            continue
        chart = confusion_chart(confusion, f"confusion{index}")
        total = f"{int(confusion.counts.sum()):,} predictions; shade = share of the true class"
        caption = f"{escape(confusion.test_set)} <small>{total}</small>"
        box = f'<div class="matrix" tabindex="0">{chart}</div>'
        drawn.append(f"<figure><figcaption>{caption}</figcaption>{box}</figure>")
    return _charts(drawn, "matrices")


def _charts(drawn: Sequence[str], layout: str = "charts") -> str:
    return f'<div class="{layout}">{"".join(drawn)}</div>' if drawn else ""


def _worst(records: Sequence[WorstRecord]) -> str:
    if not records:
        return ""
    rows = tuple((each.identifier, each.true, each.predicted, each.loss) for each in records)
    return _table(Table(header=("record", "true", "predicted", "loss"), rows=rows))


def _table(table: Table | None) -> str:
    if table is None or not table.rows:
        return ""
    numeric = [_is_numeric(column) for column in zip(*table.rows, strict=True)]
    kinds = [' class="n"' if number_column else "" for number_column in numeric]
    head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(table.header, kinds, strict=True))
    rows = []
    for row in table.rows:
        cells = "".join(_table_cell(cell, kind) for cell, kind in zip(row, kinds, strict=True))
        rows.append(f"<tr>{cells}</tr>")
    body = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return _scrolling(body, " ".join(table.header))


def _table_cell(cell: str | int | float, kind: str) -> str:
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


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    items = "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in pairs)
    return f"<dl>{items}</dl>" if items else ""


def _scrolling(content: str, label: str) -> str:
    """A box that scrolls sideways on narrow screens, by keyboard too."""
    return f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(label)}">{content}</div>'
