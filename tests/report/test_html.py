"""report.html is one well-formed file that stands alone, shows what it is given and runs nothing that it was given."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from seqtrain.report import clouds, line_chart, matrix_chart
from seqtrain.report.axes import axis_of, number, short_number, step_axis
from seqtrain.report.figures import MAX_DOTS_IN_PAGE
from seqtrain.report.html import report_html, write_report
from seqtrain.report.records import (
    Bars,
    Calibration,
    Confusion,
    Curve,
    Figure,
    Points,
    Remark,
    Report,
    Scatter,
    Section,
    Series,
    Table,
    WorstRecord,
)
from seqtrain.report.tables import metric_title

_VOID = {"meta", "br", "link", "img", "input", "hr"}
_HOSTILE = "<script>alert('\"&')</script>"


class _Page(HTMLParser):
    """Collects tags and attributes; fails where a closing tag does not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["script"], ["style"]):
            self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def _full(words: str) -> Report:
    """A report with every part, all its words being the same."""
    rng = np.random.default_rng(0)
    steps = np.arange(600)
    values = rng.normal(size=40)
    table = Table(header=(words, "records", words), rows=((words, 1200, ""), (words, 3.5, words)))
    return Report(
        title=words,
        command=f"seqtrain finetune {words} --label {words}",
        summary=(words, words),
        figures=(
            Figure(test_set=words, metric="spearman", value=0.5, low=0.4, high=0.6, baselines=((words, 0.3),)),
            Figure(test_set=words, metric=words, value=0.5),
        ),
        curves=(
            Curve(
                title=words,
                x_label=words,
                y_label=words,
                series=(
                    Series(name=words, x=steps, y=rng.normal(size=600)),
                    Series(name=words, x=steps[::60], y=np.ones(10)),
                ),
            ),
        ),
        scatters=(
            Scatter(true=values, predicted=values, label=words, test_set=words, identifiers=(words,) * len(values)),
        ),
        confusions=(Confusion(labels=(words, "b"), counts=np.array([[3, 1], [0, 20_000]]), test_set=words),),
        sections=(_section(words, early=True), _section(words)),
        worst=(
            WorstRecord(identifier=words, true=words, predicted=words, loss=1.5),
            WorstRecord(identifier=words, true=words, predicted=words, loss=1, nearest=words, nearest_label=words),
        ),
        classes=table,
        splits=table,
        ledger=table,
        configuration=((words, words),),
        environment=((words, words),),
    )


def _section(words: str, *, early: bool = False) -> Section:
    """A section with every kind of chart."""
    rng = np.random.default_rng(1)
    x, y, kind = rng.normal(size=30), rng.normal(size=30), rng.integers(0, 3, 30)
    share = np.linspace(0, 1, 11)
    plain = Curve(title=words, x_label=words, y_label=words, series=(Series(name=words, x=share, y=share),))
    return Section(
        title=words,
        sentences=(words,),
        remarks=(Remark(severity="warning", words=words, advice=words), Remark(severity="fine", words=words)),
        charts=(
            replace(plain, unit_square=True, levels=((words, 0.2),), diagonal=words),
            Points(
                title=words,
                x_label=words,
                y_label=words,
                x=x,
                y=y,
                names=(words,) * 30,
                colours=(words,) * 3,
                colour=kind,
                shapes=(words,) * 3,
                shape=kind,
                has_axes=False,
            ),
            Points(title=words, x_label=words, y_label=words, x=x, y=y, zero=True),
            Bars(title=words, x_label=words, y_label=words, edges=share, counts=np.ones((2, 10)), names=(words, words)),
            Calibration(title=words, confidence=share, observed=share, counts=np.arange(11)),
        ),
        tables=(Table(header=(words,), rows=((words,),), title=words),),
        note=words,
        early=early,
    )


def test_full_report_is_well_formed_and_stands_alone() -> None:
    text = report_html(_full("word"))
    page = _Page(text)
    assert page.count("h2") == 12 and page.count("section") == 12
    for tag, attributes in page.tags:
        assert not {"src", "srcset", "data", "action"} & set(attributes)
        assert tag not in {"link", "img", "iframe", "object", "embed", "base"}
        assert (attributes.get("href") or "#").startswith("#")
    assert "http" not in text and "url(" not in text and "@import" not in text
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert links <= {f"#{identifier}" for identifier in ids}


def test_what_comes_from_users_is_escaped() -> None:
    text = report_html(_full(_HOSTILE))
    page = _Page(text)
    assert page.count("script") == 1
    assert _HOSTILE in page.text
    assert _HOSTILE not in text
    # An attribute that was broken out of would show as an attribute of another name.
    known = re.compile(r"^(aria-\w+|data-\w+|[a-z][a-z0-9-]*|viewBox)$", re.IGNORECASE)
    assert all(known.match(name) for _, attributes in page.tags for name in attributes)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


@pytest.mark.parametrize(
    "part",
    ["summary", "figures", "sections", "curves", "scatters", "confusions", "worst", "configuration", "environment"],
)
def test_every_part_is_optional(part: str) -> None:
    full = _full("word")
    alone = Report(title="Run", **{part: getattr(full, part)})
    assert _Page(report_html(alone)).count("section") == {"summary": 0, "sections": 2}.get(part, 1)
    without = _Page(report_html(replace(full, **{part: ()})))
    assert without.count("section") == 12 - {"summary": 0, "sections": 2}.get(part, 1)


def test_empty_report() -> None:
    page = _Page(report_html(Report(title="Nothing yet")))
    assert page.count("section") == 0 and page.count("nav") == 0 and "Nothing yet" in page.text


def test_degenerate_contents() -> None:
    nothing = np.zeros(0)
    empty = Curve(title="a", x_label="b", y_label="c", series=(Series(name="d", x=nothing, y=nothing),))
    undefined = Series(name="e", x=np.arange(3.0), y=np.array([np.nan, np.inf, -np.inf]))
    single = Series(name="f", x=np.array([7]), y=np.array([0.0]))
    report = Report(
        title="Odd",
        figures=(
            Figure(test_set="", metric="mcc", value=float("nan"), baselines=(("majority class", 0.0),)),
            Figure(test_set="", metric="r2", value=-float("inf"), low=0.0, high=0.0),
        ),
        curves=(empty, replace(empty, series=(undefined, single)), replace(empty, series=(single,))),
        scatters=(
            Scatter(true=nothing, predicted=nothing),
            Scatter(true=np.array([1.0]), predicted=np.array([np.nan])),
            Scatter(true=np.zeros(3), predicted=np.zeros(3)),
        ),
        confusions=(
            Confusion(labels=("a",), counts=np.zeros((1, 1), int)),
            Confusion(labels=(), counts=np.zeros((0, 0))),
        ),
        classes=Table(header=("class",), rows=()),
        sections=(
            Section(
                title="Nothing",
                charts=(
                    Points(title="a", x_label="b", y_label="c", x=nothing, y=nothing),
                    Bars(title="a", x_label="b", y_label="c", edges=nothing, counts=nothing),
                    Calibration(title="a", confidence=nothing, observed=nothing, counts=nothing),
                ),
                note="of nothing",
            ),
            Section(
                title="Little",
                charts=(
                    Points(title="a", x_label="b", y_label="c", x=np.array([np.nan, 1]), y=np.array([0.0, 1])),
                    Bars(title="a", x_label="b", y_label="c", edges=np.array([0, 1]), counts=np.array([0])),
                    Calibration(
                        title="a",
                        confidence=np.array([np.nan, 0.5]),
                        observed=np.array([np.nan, 1]),
                        counts=np.array([0, 2]),
                    ),
                ),
            ),
        ),
    )
    page = _Page(report_html(report))
    drawn = " ".join(value or "" for _, attributes in page.tags for value in attributes.values())
    assert "nan" not in drawn and "inf" not in drawn
    assert page.count("figure") == 2 + 2 + 1 + 3
    assert page.count("section") == 5 and "of nothing" not in page.text


def test_best_of_a_row_is_marked_by_direction() -> None:
    def marked(metric: str, value: float, baseline: float) -> list[str]:
        figure = Figure(test_set="test", metric=metric, value=value, baselines=(("mean", baseline),))
        return re.findall(r'<td class="n best">([^<]*)', report_html(Report(title="t", figures=(figure,))))

    assert marked("spearman", 0.9, 0.1) == ["0.900"]
    assert marked("mse", 0.9, 0.1) == ["0.100"]
    assert marked("perplexity", 11.0, 18.0) == ["11.00"]
    assert marked("spearman", 0.9, float("nan")) == ["0.900"]


def test_large_contents_stay_small() -> None:
    rng = np.random.default_rng(1)
    count = 60_000
    spike = rng.normal(size=count)
    spike[31_234] = 40.0
    curve = Curve(title="a", x_label="b", y_label="c", series=(Series(name="d", x=np.arange(count), y=spike),))
    drawn = line_chart.line_chart(curve, "k")
    assert drawn.count("L") <= line_chart.MAX_POINTS + 1000
    heights = [float(y) for y in re.findall(r"L[\d.]+ ([\d.]+)", drawn)]
    assert min(heights) < 30, "thinning must keep the spike"
    scatter = Scatter(true=spike, predicted=spike, identifiers=tuple(map(str, range(count))))
    text = clouds.scatter_chart(scatter, "k")
    assert text.count("h0") == clouds.MAX_DOTS
    names = re.search(r'data-names="([^"]*)"', text)
    assert names is not None and len(names[1].split("\n")) == clouds.MAX_DOTS


def test_noisy_series_get_a_mean_and_smooth_ones_do_not() -> None:
    rng = np.random.default_rng(2)
    steps = np.arange(2000)
    noisy = Series(name="loss", x=steps, y=5 + rng.normal(size=2000))
    assert line_chart.smoothing(noisy) == 61
    assert line_chart.smoothing(Series(name="rate", x=steps, y=1 - steps / 2000)) == 1
    assert line_chart.smoothing(Series(name="valid", x=steps[:50], y=noisy.y[:50])) == 1
    drawn = line_chart.line_chart(Curve(title="a", x_label="b", y_label="c", series=(noisy,)), "k")
    faint, line = (re.findall(rf'<path class="{kind} c1"[^>]* d="([^"]*)"', drawn)[0] for kind in ("faint", "line"))

    def spread(path: str) -> float:
        return float(np.ptp([float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]))

    assert spread(line) < spread(faint) / 5


def test_line_goes_where_the_values_are() -> None:
    series = Series(name="s", x=np.array([0, 1, 2, 3]), y=np.array([0.0, 1.0, np.nan, 0.5]))
    drawn = line_chart.line_chart(Curve(title="a", x_label="b", y_label="c", series=(series,)), "k")
    path = re.findall(r'<path class="line c1"[^>]* d="([^"]*)"', drawn)[0]
    assert re.sub(r"[\d. ]+", "", path) == "MLM"
    low, high, last = (float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path))
    assert last == pytest.approx((low + high) / 2, abs=0.1)
    assert high < low


def test_many_classes_are_put_together() -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 9, (60, 60))
    counts[17] += 500
    labels, merged = matrix_chart.common_classes(Confusion(labels=tuple(f"k{i}" for i in range(60)), counts=counts))
    assert (
        merged.shape == (matrix_chart.MAX_CLASSES, matrix_chart.MAX_CLASSES) and len(labels) == matrix_chart.MAX_CLASSES
    )
    assert merged.sum() == counts.sum() and "k17" in labels and labels[-1] == "36 others"
    assert merged[labels.index("k17")].sum() == counts[17].sum()
    few = Confusion(labels=("a", "b"), counts=np.array([[1, 2], [3, 4]]))
    assert matrix_chart.common_classes(few)[1].tolist() == [[1, 2], [3, 4]]


def test_axes_and_numbers() -> None:
    assert [words for _, words in step_axis(np.array([10, 15_000]), 0, 100).ticks(5)] == ["0", "5k", "10k", "15k"]
    assert [words for _, words in axis_of(np.array([0.3, 1.6]), 0, 100).ticks(3)] == ["0.5", "1.0", "1.5"]
    assert [words for _, words in axis_of(np.array([-2.0, 2.0]), 0, 100).ticks(2)] == ["−2", "0", "2"]
    assert [words for _, words in axis_of(np.array([0.0, 1.0, 2.0]), 0, 100).ticks(5)] == ["0", "1", "2"]
    assert [words for _, words in axis_of(np.array([0.0, 1.5, 2.0]), 0, 100).ticks(5)][:2] == ["0.0", "0.5"]
    log = axis_of(np.array([1e-6, 1e-6, 1.0]), 0, 60, may_be_log=True)
    assert log.log and log.place(np.array([1e-6, 1e-3, 1.0])) == pytest.approx([0, 30, 60])
    assert not axis_of(np.array([1.0, 2, 3]), 0, 60, may_be_log=True).log
    for constant in (0.0, 5.0, -3e-9, 1e12):
        axis = axis_of(np.full(4, constant), 0, 10)
        assert axis.low < constant < axis.high and axis.ticks(5)
    assert [short_number(v) for v in (1e-5, 20_000, 3e6, 0.25, 0)] == ["1e−5", "20k", "3M", "0.25", "0"]
    assert [number(v) for v in (1234567, 0.12345, -12.3456, 4567.8, 1e-7, float("nan"), np.int64(-3))] == [
        "1,234,567",
        "0.123",
        "−12.35",
        "4,568",
        "1.00e−07",
        "–",
        "−3",
    ]


def test_metric_titles() -> None:
    assert metric_title("spearman") == "Spearman ρ"
    assert metric_title("mse[acid]") == "Mean squared error, acid"
    assert metric_title("masked accuracy") == "Masked accuracy"


def test_write_replaces_and_survives_odd_bytes(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(path, Report(title="older run"))
    write_report(path, Report(title="newer run \udce4"))
    text = path.read_text(encoding="utf-8")
    assert "newer run ?" in text and "older run" not in text
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_many_baselines_stand_in_rows() -> None:
    names = ("mean", "nearest neighbour", "ridge", "trees")
    baselines = tuple((name, 0.1 * i) for i, name in enumerate(names))
    figure = Figure(test_set="test", metric="spearman", value=0.25, low=0.2, high=0.3, baselines=baselines)
    text = report_html(Report(title="t", figures=(figure,)))
    assert re.findall(r'<td class="n best">([^<]*)', text) == ["0.300"]
    rows = re.findall(r'<tr[^>]*><th scope="row">(?:<span[^>]*></span>)?([^<]*)</th>', text)
    assert rows == ["this model", "among the others", *names]


def test_worst_records_show_their_neighbours_where_known() -> None:
    plain = WorstRecord(identifier="a", true="x", predicted="y", loss=2.0)
    found = WorstRecord(identifier="b", true="x", predicted="y", loss=1, nearest="t", nearest_label="y", identity=0.93)
    assert "nearest training record" not in report_html(Report(title="t", worst=(plain,)))
    page = _Page(report_html(Report(title="t", worst=(plain, found))))
    assert "nearest training record" in page.text and "0.930" in page.text and "–" in page.text


def test_sections_stand_where_they_belong() -> None:
    early, late = Section(title="Split", sentences=("a",), early=True), Section(title="Map", sentences=("b",))
    curve = Curve(title="c", x_label="x", y_label="y", series=(Series(name="s", x=np.arange(3), y=np.arange(3)),))
    text = report_html(Report(title="t", sections=(late, early), curves=(curve,), configuration=(("k", "v"),)))
    assert re.findall(r"<h2>([^<]*)", text) == ["Split", "Curves", "Map", "Configuration"]


def test_points_go_where_the_values_are() -> None:
    x, y = np.array([0.0, 1.0, 2.0]), np.array([0.0, 4.0, 2.0])
    points = Points(title="a", x_label="x", y_label="y", x=x, y=y, colours=("p", "q"), colour=np.array([0, 1, 0]))
    drawn = clouds.points_chart(points, "k")
    groups = re.findall(r'<g data-s="(\d)" data-t="0"><path class="dots large round c\d" d="([^"]*)"', drawn)
    assert [(colour, path.count("h0")) for colour, path in groups] == [("0", 2), ("1", 1)]
    places = [tuple(map(float, pair.split())) for _, path in groups for pair in re.findall(r"M([\d. ]+)h0", path)]
    (left, foot), (right, middle), (centre, top) = places
    assert centre == pytest.approx((left + right) / 2, abs=0.1) and middle == pytest.approx((foot + top) / 2, abs=0.1)
    assert top < foot


def test_bars_have_the_heights_of_their_counts() -> None:
    bars = Bars(title="a", x_label="x", y_label="y", edges=np.array([0.0, 1, 3]), counts=np.array([10, 5]))
    text = report_html(Report(title="t", sections=(Section(title="s", charts=(bars,)),)))
    drawn = re.findall(r'd="M([\d.]+) ([\d.]+)V([\d.]+)H([\d.]+)V[\d.]+z"><title>([^<]*)', text)
    (low, foot, top, end, first), (start, _, half, last, second) = drawn
    assert (first, second) == ("0.000 to 1.000: 10", "1.000 to 3.000: 5")
    assert (float(foot) - float(half)) * 2 == pytest.approx(float(foot) - float(top), abs=0.3) and start == end
    assert (float(last) - float(start)) == pytest.approx(2 * (float(end) - float(low)), abs=0.3)


def test_a_hundred_thousand_records_make_a_small_page() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(size=100_000)
    names = tuple(f"sequence_{i}" for i in range(100_000))
    scatters = tuple(
        Scatter(true=values, predicted=values, label=f"column {i}", test_set="test", identifiers=names)
        for i in range(12)
    )
    counts = rng.integers(0, 5, (300, 300))
    confusion = Confusion(labels=tuple(f"class {i}" for i in range(300)), counts=counts, test_set="test")
    text = report_html(Report(title="t", scatters=scatters, confusions=(confusion,)))
    assert len(text) < 3_000_000
    assert text.count("h0") == MAX_DOTS_IN_PAGE // 12 * 12
    assert "1,666 of 100,000 records, drawn at random" in text and "the commonest 24 of 300 classes" in text


def test_calibration_shows_shares_at_their_confidence_and_counts_in_their_bins() -> None:
    calibration = Calibration(
        title="t", confidence=np.array([0.25, 0.8]), observed=np.array([0.5, 0.8]), counts=np.array([10, 5])
    )
    text = report_html(Report(title="t", sections=(Section(title="s", charts=(calibration,)),)))
    bars = re.findall(r'd="M([\d.]+) ([\d.]+)V([\d.]+)H([\d.]+)V[\d.]+z"><title>([^<]*)', text)
    assert [bar[4] for bar in bars] == [
        "10 predictions, on average 0.250 sure: 0.500 are right",
        "5 predictions, on average 0.800 sure: 0.800 are right",
    ]
    foot, (first, second) = float(bars[0][1]), (float(bars[0][2]), float(bars[1][2]))
    assert bars[0][3] == bars[1][0] and foot - first == pytest.approx(2 * (foot - second), abs=0.2)
    line = re.findall(r'<path class="line c1"[^>]* d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"', text)[0]
    level = re.findall(r'<path class="level" d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"', text)[0]
    left, low, right, high = map(float, level)
    across = [(float(line[i]) - left) / (right - left) for i in (0, 2)]
    up = [(low - float(line[i])) / (low - high) for i in (1, 3)]
    assert across == pytest.approx([0.25, 0.8], abs=0.01) and up == pytest.approx([0.5, 0.8], abs=0.01)
