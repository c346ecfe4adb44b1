"""report.html: one file that tells what a run did, what it is worth and how to repeat it, without any other file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path

from seqtrain.io.run_directory import write_text_atomically
from seqtrain.report.figures import figures
from seqtrain.report.page import STYLE
from seqtrain.report.page_script import SCRIPT
from seqtrain.report.records import Remark, Report, Section
from seqtrain.report.tables import figure_tables, table, worst_table

_MAX_FINE = 5
"""Remarks that nothing is to be done about; more are folded away."""
_SEVERITIES = {"warning": "Warning", "note": "Note", "fine": "Fine"}


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
    parts = [part for part in _parts(report) if part[2]]
    links = "".join(f'<a href="#{key}">{escape(title)}</a>' for key, title, _ in parts)
    sections = "\n".join(
        f'<section id="{key}"><h2>{escape(title)}</h2>\n{content}\n</section>' for key, title, content in parts
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


def _parts(report: Report) -> list[tuple[str, str, str]]:
    """(name for links, title, content) of every part, the empty ones included."""
    early = [_section(section, f"early{i}") for i, section in enumerate(report.sections) if section.early]
    late = [_section(section, f"part{i}") for i, section in enumerate(report.sections) if not section.early]
    return [
        ("figures", "Key figures", figure_tables(report.figures)),
        *early,
        ("curves", "Curves", figures(report.curves, "curve")),
        ("scatters", "Predicted and true values", figures(report.scatters, "scatter")),
        ("confusions", "Confusions", figures(report.confusions, "confusion")),
        ("classes", "Classes", table(report.classes)),
        *late,
        ("worst", "Worst predictions", worst_table(report.worst)),
        ("splits", "Sets", table(report.splits)),
        ("ledger", "Ledger of records", table(report.ledger)),
        ("configuration", "Configuration", _pairs(report.configuration)),
        ("environment", "Environment", _pairs(report.environment)),
    ]


def _section(section: Section, key: str) -> tuple[str, str, str]:
    content = [
        _remarks(section.remarks),
        "".join(f"<p>{escape(sentence)}</p>" for sentence in section.sentences),
        figures(section.charts, f"{key}-"),
        *(table(each) for each in section.tables),
    ]
    note = f'<p class="note">{escape(section.note)}</p>' if section.note and any(content) else ""
    return key, section.title, "\n".join(filter(None, [*content, note]))


def _remarks(remarks: Sequence[Remark]) -> str:
    fine = [remark for remark in remarks if remark.severity == "fine"]
    if len(fine) <= _MAX_FINE:
        return _listed(remarks)
    others = _listed([remark for remark in remarks if remark.severity != "fine"])
    return f"{others}<details><summary>{len(fine)} checks found nothing</summary>{_listed(fine)}</details>"


def _listed(remarks: Sequence[Remark]) -> str:
    items = ""
    for remark in remarks:
        advice = f"<p>{escape(remark.advice)}</p>" if remark.advice else ""
        word = _SEVERITIES[remark.severity]
        items += f'<li class="{remark.severity}"><b>{word}</b><div><p>{escape(remark.words)}</p>{advice}</div></li>'
    return f'<ul class="remarks">{items}</ul>' if items else ""


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


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    items = "".join(f"<div><dt>{escape(key)}</dt><dd>{escape(value)}</dd></div>" for key, value in pairs)
    return f"<dl>{items}</dl>" if items else ""
