"""report.html in a real browser: it runs without an error, fits a phone, is legible in light and dark, and zooms."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest

from seqtrain.report.html import report_html
from seqtrain.report.page import DARK, DEPTH, LIGHT
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

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_TIMEOUT_SECONDS = 60
_WIDTHS = {"desktop": 1200, "phone": 360}
_SECTIONS = [
    "Key figures",
    "Split and leakage",
    "Curves",
    "Predicted and true values",
    "Confusions",
    "Classes",
    "Map of embeddings",
    "Worst predictions",
    "Configuration",
]

# Written into the page under test, in front of everything: errors are counted from the first script on.
_WATCH = """<script>
window.found = {errors: []};
Storage.prototype.getItem = () => null; // both widths keep their theme in one place
addEventListener('error', event => found.errors.push(event.message));
const said = console.error; console.error = (...words) => { found.errors.push(words.join(' ')); said(...words); };
</script>"""

# Written behind everything: uses the page as a reader would, and posts what was seen to the page around it.
_USE = """<script>
addEventListener('load', () => {
  try { use(); } catch (error) { found.errors.push('in the test: ' + error); }
  parent.postMessage({name: location.hash.slice(1), found}, '*');
});
function use() {
  const wide = document.documentElement;
  found.width = innerWidth; found.scrollWidth = wide.scrollWidth;
  found.sections = [...document.querySelectorAll('section > h2')].map(each => each.textContent);
  found.unnamed = [...document.querySelectorAll('svg.chart')].filter(svg => !svg.getAttribute('aria-label')).length;
  found.charts = document.querySelectorAll('svg.chart').length;
  found.contrast = {light: lowest()};
  document.querySelector('#theme').click();
  found.theme = wide.dataset.theme; found.dark = getComputedStyle(document.body).backgroundColor;
  found.contrast.dark = lowest();
  const svg = document.querySelector('#curves svg.chart'), plot = svg.querySelector('svg.plot');
  const view = () => plot.getAttribute('viewBox'), ticks = () => svg.querySelector('g.ticks').textContent;
  found.views = [view()]; found.ticks = [ticks()];
  const press = (key, more = {}) => svg.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, ...more}));
  const see = () => { found.views.push(view()); found.ticks.push(ticks()); };
  press('+'); see(); press('ArrowRight', {shiftKey: true}); see(); press('0'); see();
  const box = svg.getBoundingClientRect();
  const point = (type, x, y) => svg.dispatchEvent(new PointerEvent(type, {bubbles: true, pointerType: 'mouse',
    clientX: box.left + x * box.width, clientY: box.top + y * box.height}));
  point('pointerdown', 0.4, 0.3); point('pointermove', 0.6, 0.31); found.marked = !!svg.querySelector('.selection');
  point('pointerup', 0.6, 0.31); see();
  svg.dispatchEvent(new MouseEvent('dblclick', {bubbles: true})); see();
  const [out, into, whole] = svg.nextElementSibling.querySelectorAll('button');
  found.disabled = [whole.disabled]; into.click(); found.disabled.push(whole.disabled); see(); whole.click(); see();
  const tip = document.querySelector('#tip');
  point('pointermove', 0.5, 0.5); found.tip = tip.textContent; found.shown = !tip.hidden;
  press('ArrowRight'); found.walked = tip.textContent;
  const key = document.querySelector('#curves .key button'), line = svg.querySelector('[data-s="0"]');
  key.click(); found.toggled = [getComputedStyle(line).display, key.getAttribute('aria-pressed')];
  point('pointermove', 0.5, 0.5); found.without = tip.textContent;
  key.click(); found.toggled.push(getComputedStyle(line).display);
  const head = [...document.querySelectorAll('#classes th')].find(each => each.textContent === 'recall');
  const column = () => [...document.querySelectorAll('#classes tbody tr')].map(row => row.cells[2].textContent);
  head.querySelector('button').click(); found.falling = column();
  head.querySelector('button').click(); found.rising = column();
  found.small = [...document.querySelectorAll('.zoom button, .key button')].length;
}
function lowest() {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92
    : Math.pow((v + 0.055) / 1.055, 2.4)).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = element => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parse(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.5) return colour;
    }
    return [255, 255, 255];
  };
  let least = [99, ''];
  for (const element of document.querySelectorAll('main *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.disabled || element.matches('text.cell, title, desc') || element.closest('[hidden]')) continue;
    const style = getComputedStyle(element), inSvg = element.namespaceURI.includes('svg');
    const pair = [parse(inSvg ? style.fill : style.color), ground(element)].map(light);
    const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (contrast < least[0]) least = [contrast, element.tagName + ' ' + element.textContent.slice(0, 30)];
  }
  return least;
}
</script>"""


def _report() -> Report:
    """Every kind of chart and of table, with words as long as users have them."""
    rng = np.random.default_rng(0)
    steps, share, count = np.arange(1, 501), np.linspace(0, 1, 21), 60
    x, y, kind = rng.normal(size=count), rng.normal(size=count), rng.integers(0, 3, count)
    names = tuple(f"sp|P{i:05d}|A_VERY_LONG_NAME_OF_A_PROTEIN_WITHOUT_A_BREAK_{i}" for i in range(count))
    classes = tuple(f"class number {i} of a long name" for i in range(7))
    baselines = tuple((f"simple model {i}, 2,000 of 3,000 records", 0.1 * i) for i in range(5))
    curve = Curve(
        title="Loss",
        x_label="step (updates)",
        y_label="loss (nats)",
        series=(
            Series(name="training", x=steps, y=2 + 100 / steps + rng.normal(size=500)),
            Series(name="validation", x=steps[::50], y=np.linspace(3, 2, 10)),
        ),
    )
    return Report(
        title="Finetuning a-run-with-a-very-long-name-without-any-break-in-it-whatsoever",
        command="seqtrain finetune " + "/a/very/long/path/" * 8 + "table.csv --target stability -o runs/x",
        summary=("Test: 0.8.", "Better than the best simple model."),
        figures=(
            Figure(test_set="test", metric="accuracy", value=0.45, low=0.4, high=0.5, baselines=baselines),
            Figure(test_set="test", metric="mcc", value=0.42, low=0.3, high=0.5, baselines=baselines),
            Figure(test_set="validation", metric="mcc", value=0.42, low=0.3, high=0.5, baselines=baselines[:2]),
        ),
        sections=(
            Section(
                title="Split and leakage",
                sentences=("Sets: homology clusters.",),
                remarks=(
                    Remark(severity="warning", words="There is no test set.", advice="Make one."),
                    Remark(severity="note", words="Something."),
                    Remark(severity="fine", words="Good."),
                ),
                charts=(
                    Bars(
                        title="Identity",
                        x_label="identity",
                        y_label="records",
                        edges=share,
                        counts=rng.integers(0, 9, (2, 20)),
                        names=("valid", "test"),
                    ),
                    Calibration(title="Calibration", confidence=share, observed=share, counts=np.arange(21)),
                ),
                early=True,
            ),
            Section(
                title="Map of embeddings",
                charts=(
                    Points(
                        title="By class",
                        x_label="t-SNE 1",
                        y_label="t-SNE 2",
                        x=x,
                        y=y,
                        names=names,
                        colours=("a", "b", "c"),
                        colour=kind,
                        shapes=("valid", "test", "other"),
                        shape=kind,
                        has_axes=False,
                    ),
                ),
            ),
        ),
        curves=(curve,),
        scatters=(Scatter(true=x, predicted=y, label="stability (kcal/mol)", test_set="test", identifiers=names),),
        confusions=(Confusion(labels=classes, counts=rng.integers(0, 50, (7, 7)), test_set="test"),),
        classes=Table(
            header=("class", "train", "recall", "note"),
            rows=tuple((name, 10, (3 * i % 7) / 10, "") for i, name in enumerate(classes)),
        ),
        worst=tuple(
            WorstRecord(
                identifier=name,
                true="a" * 60,
                predicted="b" * 60,
                loss=2.0,
                nearest=name,
                nearest_label="a",
                identity=0.9,
            )
            for name in names[:20]
        ),
        configuration=tuple((f"a_setting_{i}", "value" * 12) for i in range(9)),
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a reader's use of the page gives at each width, in one start of the browser."""
    browser = next(filter(None, map(shutil.which, _NAMES)), None)
    if browser is None:
        pytest.skip(f"no browser here: none of {', '.join(_NAMES)} is on the PATH")
    folder = tmp_path_factory.mktemp("browser")
    page = report_html(_report()).replace("<head>", "<head>" + _WATCH).replace("</body>", _USE + "</body>")
    (folder / "report.html").write_text(page, encoding="utf-8")
    frames = "".join(
        f'<iframe src="report.html#{name}" style="width:{width}px;height:800px;border:0"></iframe>'
        for name, width in _WIDTHS.items()
    )
    collect = (
        "const all = {}; addEventListener('message', event => { all[event.data.name] = event.data.found;"
        "document.querySelector('#measured').textContent = JSON.stringify(all); });"
    )
    around = f'<!DOCTYPE html><meta charset="utf-8"><pre id="measured"></pre><script>{collect}</script>{frames}'
    (folder / "around.html").write_text(around, encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += [
        "--window-size=1300,1700",
        "--virtual-time-budget=10000",
        "--dump-dom",
        (folder / "around.html").as_uri(),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{browser} did not answer within {_TIMEOUT_SECONDS} seconds")
    measured = re.search(r'<pre id="measured">([^<]+)</pre>', done.stdout)
    assert measured is not None, f"the page did not report: {done.stderr[-2000:]}"
    return dict(json.loads(html.unescape(measured[1])))


@pytest.mark.parametrize("device", _WIDTHS)
def test_runs_without_an_error_and_fits(found: dict[str, Any], device: str) -> None:
    page = found[device]
    assert page["errors"] == []
    assert page["width"] == _WIDTHS[device] and page["scrollWidth"] <= page["width"]
    assert page["sections"] == _SECTIONS
    assert page["charts"] == 6 and page["unnamed"] == 0


@pytest.mark.parametrize("device", _WIDTHS)
def test_words_are_legible_in_light_and_dark(found: dict[str, Any], device: str) -> None:
    page = found[device]
    for theme in ("light", "dark"):
        contrast, where = page["contrast"][theme]
        assert contrast >= 4.5, f"{theme}: {where}"
    assert page["theme"] == "dark" and page["dark"] == "rgb(20, 23, 27)"


@pytest.mark.parametrize("device", _WIDTHS)
def test_zooms_by_keys_mouse_and_buttons(found: dict[str, Any], device: str) -> None:
    page = found[device]
    home, near, moved, back, dragged, again, pressed, reset = page["views"]
    assert home == back == again == reset
    assert len({home, near, moved, dragged}) == 4 and pressed == near
    left, _, width, height = (float(each) for each in home.split())
    x, _, across, up = (float(each) for each in dragged.split())
    assert up == pytest.approx(height), "a flat drag keeps the whole height"
    assert across == pytest.approx(0.2 * 440, rel=0.02) and left < x < left + width
    ticks = page["ticks"]
    assert ticks[0] == ticks[3] == ticks[5] == ticks[7] and ticks[0] != ticks[1] != ticks[4]
    assert page["marked"] and page["disabled"] == [True, False]


@pytest.mark.parametrize("device", _WIDTHS)
def test_reads_switches_and_sorts(found: dict[str, Any], device: str) -> None:
    page = found[device]
    assert page["shown"] and "training, mean of" in page["tip"] and "validation: " in page["tip"]
    assert "step (updates)" in page["tip"] and page["walked"] and page["walked"] != page["tip"]
    assert page["toggled"] == ["none", "false", "inline"] and "training" not in page["without"]
    assert page["rising"] == sorted(page["rising"], key=float) == page["falling"][::-1]


def test_counts_are_legible_on_every_shade() -> None:
    def light(colour: tuple[float, ...]) -> float:
        channels = [v / 255 for v in colour]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def parsed(name: str) -> tuple[int, ...]:
        return tuple(int(name[i : i + 2], 16) for i in (1, 3, 5))

    for colours, depth in ((LIGHT, DEPTH["light"]), (DARK, DEPTH["dark"])):
        ink, panel = light(parsed(colours["ink"])), parsed(colours["panel"])
        for fill in ("accent", "wrong", "axis"):
            for share in np.linspace(0, depth, 11):
                mixed = tuple(a * share + b * (1 - share) for a, b in zip(parsed(colours[fill]), panel, strict=True))
                ground = light(mixed)
                contrast = (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05)
                assert contrast >= 4.5, (fill, share)
