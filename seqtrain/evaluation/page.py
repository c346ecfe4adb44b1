"""The look of report.html: its style sheet and its script, both inlined so that the file stands alone."""

from __future__ import annotations

_LIGHT = """
--paper:#ffffff; --panel:#f7f8f9; --ink:#1d2228; --soft:#5a636e; --line:#e1e4e8; --axis:#9aa2ab;
--accent:#22618a; --good:#2c7a51; --wrong:#b4542e; --on-strong:#ffffff;
--c1:#22618a; --c2:#c26a1d; --c3:#2c7a51; --c4:#7a559f; --c5:#ad3b4a; --c6:#66707b;
"""
_DARK = """
--paper:#14171b; --panel:#1c2025; --ink:#e6e8eb; --soft:#9ba4ae; --line:#2d333a; --axis:#69727c;
--accent:#74b5de; --good:#6cc196; --wrong:#e58f66; --on-strong:#14171b;
--c1:#74b5de; --c2:#e8a25c; --c3:#6cc196; --c4:#b798dc; --c5:#e8808d; --c6:#a3abb4;
"""
_COLOURS = "".join(
    f"path.c{i}{{stroke:var(--c{i})}} path.diamond.c{i}{{fill:var(--c{i});stroke:var(--paper)}}"
    f" .key .c{i}{{background:var(--c{i})}}"
    for i in range(1, 7)
)
# Lines differ in dashes too, for print and for eyes that do not tell the colours apart.
_DASHES = "path.line.c2{stroke-dasharray:7 3} path.line.c3{stroke-dasharray:2 3} path.line.c4{stroke-dasharray:9 3 2 3}"

STYLE = f"""
:root{{color-scheme:light dark;{_LIGHT}}}
@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}
*{{box-sizing:border-box}}
html{{-webkit-text-size-adjust:100%}}
body{{margin:0;background:var(--paper);color:var(--ink);
 font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}}
main{{max-width:62rem;margin:0 auto;padding:2.75rem 1.5rem 4rem}}
h1{{font-size:1.85rem;line-height:1.2;margin:0 0 1.1rem;font-weight:650;letter-spacing:-.012em;overflow-wrap:anywhere}}
h2{{font-size:1.2rem;margin:0 0 .9rem;font-weight:620;letter-spacing:-.005em}}
h3{{font-size:1rem;margin:1.4rem 0 .5rem;font-weight:600;overflow-wrap:anywhere}}
section{{margin-top:2.6rem;padding-top:1.5rem;border-top:1px solid var(--line)}}
p{{margin:.5rem 0;max-width:46rem;overflow-wrap:anywhere}}
.lead{{font-size:1.18rem;line-height:1.45;margin:0 0 .7rem}}
.more{{margin:.4rem 0 0;padding-left:1.15rem;max-width:46rem}}
.more li{{margin:.25rem 0;overflow-wrap:anywhere}}
.note{{color:var(--soft);font-size:.875rem}}
pre,code{{font:.84rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}}
pre span{{white-space:nowrap}}
pre{{margin:1.2rem 0 0;padding:.75rem .95rem;background:var(--panel);border:1px solid var(--line);border-radius:6px;
 white-space:pre-wrap;overflow-wrap:anywhere}}
nav{{margin-top:1.3rem;font-size:.9rem;display:flex;flex-wrap:wrap;gap:.25rem 1.1rem}}
a{{color:var(--accent);text-decoration:none}} a:hover{{text-decoration:underline}}
.scroll{{overflow-x:auto;margin:0 -.25rem;padding:0 .25rem}}
:focus-visible{{outline:2px solid var(--accent);outline-offset:2px;border-radius:3px}}
table{{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;line-height:1.4}}
th,td{{padding:.42rem 1.1rem .42rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}}
thead th{{color:var(--soft);font-weight:500;font-size:.8rem;line-height:1.3;vertical-align:bottom;
 border-bottom-color:var(--axis)}}
tbody th{{font-weight:500}}
td.n,th.n{{text-align:right}}
td.w{{min-width:11rem;overflow-wrap:anywhere}}
tr>:last-child{{padding-right:.25rem}}
.figures th,.figures td{{vertical-align:middle}}
.figures thead th{{vertical-align:bottom;max-width:9.5rem;min-width:5.2rem}}
.figures .pic{{min-width:180px}}
.figures small{{display:block;font-weight:400;color:var(--soft);font-size:.78rem;white-space:nowrap}}
.figures td.best{{font-weight:650}}
.key{{display:flex;flex-wrap:wrap;gap:.1rem 1rem;font-size:.84rem;color:var(--soft);margin:.35rem 0 .1rem;
 padding:0;list-style:none}}
.key span{{display:inline-block;width:.75rem;height:.75rem;border-radius:2px;margin-right:.4rem;vertical-align:-.06rem}}
.key .dot{{border-radius:50%;background:var(--ink)}}
.key .diamond{{transform:rotate(45deg) scale(.75)}}
.charts{{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1.8rem 2.2rem}}
.matrices{{display:flex;flex-wrap:wrap;gap:1.8rem 2.6rem}} .matrices figure{{max-width:100%}}
figure{{margin:0;min-width:0;break-inside:avoid}}
figcaption{{font-weight:600;font-size:.95rem;margin-bottom:.3rem;overflow-wrap:anywhere}}
figcaption small{{font-weight:400;color:var(--soft);font-size:.84rem}}
svg.chart{{display:block;width:100%;height:auto;overflow:visible}}
svg text{{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;fill:var(--soft);
 font-variant-numeric:tabular-nums}}
svg text.label{{fill:var(--ink)}}
svg .mid{{text-anchor:middle}} svg .end{{text-anchor:end}}
svg .grid{{stroke:var(--line)}} svg .axis{{stroke:var(--axis)}}
svg path{{fill:none}}
svg .line{{stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}}
svg .faint{{stroke-width:1;stroke-opacity:.3}}
svg .dots{{stroke-linecap:round;stroke-width:5}}
svg .dots.large{{stroke-width:5.5}} svg .dots.medium{{stroke-width:4.5;stroke-opacity:.55}}
svg .dots.small{{stroke-width:3.2;stroke-opacity:.4}}
svg .diagonal{{stroke:var(--axis);stroke-dasharray:4 4}}
svg .whisker{{stroke:var(--ink);stroke-width:3;stroke-opacity:.35;stroke-linecap:round}}
svg .score{{fill:var(--ink);stroke:var(--paper);stroke-width:1.5}}
svg .empty{{fill:var(--panel)}} svg .right{{fill:var(--accent)}} svg .wrong{{fill:var(--wrong)}}
svg text.cell{{text-anchor:middle;fill:var(--ink);font-size:11px}} svg text.cell.strong{{fill:var(--on-strong)}}
svg .cursor{{stroke:var(--axis);stroke-dasharray:3 3}}
svg .spot{{fill:none;stroke:var(--ink);stroke-width:1.5}}
{_COLOURS}
{_DASHES}
.matrix{{overflow-x:auto}}
dl{{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,19rem),1fr));gap:0 2.2rem;margin:0;
 font-size:.9rem}}
dl div{{display:flex;gap:1rem;justify-content:space-between;padding:.36rem 0;border-bottom:1px solid var(--line);
 break-inside:avoid}}
dt{{color:var(--soft);flex:none;max-width:55%;overflow-wrap:anywhere}}
dd{{margin:0;text-align:right;overflow-wrap:anywhere;min-width:0;font-variant-numeric:tabular-nums}}
#tip{{position:fixed;pointer-events:none;background:var(--ink);color:var(--paper);font-size:.8rem;line-height:1.4;
 padding:.3rem .55rem;border-radius:4px;white-space:pre-line;max-width:17rem;overflow-wrap:anywhere;z-index:9}}
@media (max-width:40rem){{
 main{{padding:1.6rem 1rem 3rem}} h1{{font-size:1.5rem}} .lead{{font-size:1.08rem}}
 section{{margin-top:2rem;padding-top:1.2rem}}
 th,td{{padding-right:.8rem}} svg text{{font-size:13.5px}} svg text.cell{{font-size:11px}}
 .figures tbody th,.figures thead th:first-child{{position:sticky;left:-.25rem;background:var(--paper);
 padding-left:.25rem;min-width:6.4rem;max-width:7.5rem}}
 .figures .pic{{min-width:0}} .strip{{width:108px;height:auto}} .strip .score{{r:6px}}
}}
@media print{{
 :root{{color-scheme:light;{_LIGHT}}}
 body{{font-size:10.5pt}} main{{max-width:none;padding:0}} nav,#tip{{display:none}}
 *{{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
 section{{margin-top:1.4rem;padding-top:1rem}} h2,h3{{break-after:avoid}} tr,svg{{break-inside:avoid}}
 .scroll,.matrix{{overflow:visible}} .matrix svg.chart{{max-width:100%}}
}}
"""

# Reads the points back from the drawn paths and the axes from data attributes, so no value is in the file twice.
SCRIPT = """
(() => {
const tip = document.createElement('div'); tip.id = 'tip'; tip.hidden = true; document.body.append(tip);
const make = (name, svg) => svg.appendChild(document.createElementNS(svg.namespaceURI, name));
const axis = text => {
  const [low, high, start, end, log] = text.split(' ').map(Number);
  return pixel => {
    const share = (pixel - start) / (end - start);
    const value = log ? low * Math.pow(high / low, share) : low + share * (high - low);
    const unit = log ? value : high - low;
    const size = Math.max(0, Math.min(6, 3 - Math.floor(Math.log10(Math.abs(unit) || 1))));
    return Math.abs(value) >= 1e4 || size < 6 ? value.toLocaleString('en', {maximumFractionDigits: size})
      : value.toPrecision(3);
  };
};
for (const svg of document.querySelectorAll('svg[data-x]')) {
  const title = svg.querySelector('title'); // its native tooltip would cover ours
  svg.setAttribute('aria-label', title.textContent); svg.removeAttribute('aria-labelledby'); title.remove();
  const toX = axis(svg.dataset.x), toY = axis(svg.dataset.y), marks = [];
  const paths = [...svg.querySelectorAll('path.line, path.dots:not(.large), path.dots[data-names], path.dots.large')]
    .filter(path => path.matches('.line') || !svg.querySelector('.line'));
  const points = paths.map(path => (path.getAttribute('d').match(/[-\\d.]+ [-\\d.]+/g) || [])
    .map(pair => pair.split(' ').map(Number)));
  const names = paths.map(path => path.matches('.line') ? null : (path.dataset.names || '').split('\\n'));
  const clear = () => { tip.hidden = true; marks.splice(0).forEach(mark => mark.remove()); };
  svg.addEventListener('pointerleave', clear);
  svg.addEventListener('pointermove', event => {
    clear();
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const lines = []; let header = '';
    points.forEach((list, i) => {
      let best = -1, least = Infinity;
      list.forEach(([x, y], k) => {
        const far = names[i] ? Math.hypot(x - place.x, y - place.y) : Math.abs(x - place.x);
        if (far < least) { least = far; best = k; }
      });
      if (best < 0 || least > (names[i] ? 14 : 40)) return;
      const [x, y] = list[best];
      const spot = make('circle', svg); spot.setAttribute('class', 'spot');
      spot.setAttribute('cx', x); spot.setAttribute('cy', y); spot.setAttribute('r', 5); marks.push(spot);
      if (names[i]) lines.push((names[i][best] ? names[i][best] + '\\n' : '')
        + 'true ' + toX(x) + ', predicted ' + toY(y));
      else { header = toX(x); lines.push(paths[i].dataset.name + ': ' + toY(y)); }
    });
    if (!lines.length) return;
    tip.textContent = (header ? header + '\\n' : '') + lines.join('\\n'); tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 6)) + 'px';
    tip.style.top = Math.max(4, event.clientY - box.height - 12) + 'px';
  });
}
})();
"""
