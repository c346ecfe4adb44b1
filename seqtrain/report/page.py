"""The look of report.html: its style sheet, inlined so that the file stands alone."""

from __future__ import annotations

LIGHT = {
    "paper": "#ffffff", "panel": "#f7f8f9", "ink": "#1d2228", "soft": "#5a636e", "line": "#e1e4e8", "axis": "#9aa2ab",
    "accent": "#22618a", "good": "#2c7a51", "wrong": "#b4542e", "alarm": "#a33a1f",
    "c1": "#22618a", "c2": "#c26a1d", "c3": "#2c7a51", "c4": "#7a559f", "c5": "#ad3b4a", "c6": "#66707b",
    "c7": "#0f8088", "c8": "#b0498f", "c9": "#857312", "c10": "#6b4a34",
    "v1": "#2b1e8f", "v2": "#7219a6", "v3": "#b12a90", "v4": "#d9564f", "v5": "#d98020",
}  # fmt: skip
"""Colours by the name of their CSS variable; c1 to c10 for what differs, v1 to v5 for how much."""
DARK = {
    "paper": "#14171b", "panel": "#1c2025", "ink": "#e6e8eb", "soft": "#9ba4ae", "line": "#2d333a", "axis": "#69727c",
    "accent": "#74b5de", "good": "#6cc196", "wrong": "#e58f66", "alarm": "#f0977a",
    "c1": "#74b5de", "c2": "#e8a25c", "c3": "#6cc196", "c4": "#b798dc", "c5": "#e8808d", "c6": "#a3abb4",
    "c7": "#5ccfd0", "c8": "#e58ac9", "c9": "#cfc05a", "c10": "#c4a78a",
    "v1": "#7f74ff", "v2": "#a862e0", "v3": "#dd62b6", "v4": "#f08a72", "v5": "#fcc45a",
}  # fmt: skip
DEPTH = {"light": 0.65, "dark": 0.45}
"""Opacity of the fullest cell of a matrix, so low that the count in it stays readable."""
_LIGHT = "".join(f"--{name}:{value};" for name, value in LIGHT.items()) + f"--depth:{DEPTH['light']};"
_DARK = "".join(f"--{name}:{value};" for name, value in DARK.items()) + f"--depth:{DEPTH['dark']};"
_COLOURS = "".join(
    f"path.{name}{{stroke:var(--{name})}} path.diamond.{name}{{fill:var(--{name});stroke:var(--paper)}}"
    f" .bars.{name} path{{fill:var(--{name})}} .key span.{name}{{background:var(--{name})}}\n"
    for name in LIGHT
    if name[0] in "cv"
)
# Lines differ in dashes too, for print and for eyes that do not tell the colours apart.
_DASHES = "path.line.c2{stroke-dasharray:7 3} path.line.c3{stroke-dasharray:2 3} path.line.c4{stroke-dasharray:9 3 2 3}"

STYLE = f"""
:root{{color-scheme:light;{_LIGHT}}}
@media (prefers-color-scheme:dark){{:root{{color-scheme:dark;{_DARK}}}}}
:root[data-theme=light]{{color-scheme:light;{_LIGHT}}} :root[data-theme=dark]{{color-scheme:dark;{_DARK}}}
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
.tall{{max-height:34rem;overflow-y:auto;border-bottom:1px solid var(--line)}}
.tall thead th{{position:sticky;top:0;background:var(--paper);z-index:1}}
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
.models tbody th,.models.key{{font-size:.9rem;color:inherit}} .models td{{padding-left:.6rem}}
table.models{{display:table}} .models .strips th{{font-weight:400;color:var(--soft)}}
.models tbody th{{min-width:10.5rem}} .models .strip{{width:110px;height:auto}} .figures.models .pic{{min-width:110px}}
.charts+.scroll,.matrices+.scroll,.charts+h3,.scroll+.charts,.remarks+.charts{{margin-top:1.4rem}}
.key{{display:flex;flex-wrap:wrap;gap:.1rem 1rem;font-size:.84rem;color:var(--soft);margin:.35rem 0 .1rem;
 padding:0;list-style:none}}
.key span{{display:inline-block;width:.75rem;height:.75rem;border-radius:2px;margin-right:.4rem;vertical-align:-.06rem}}
.key span.dot{{border-radius:50%;background:var(--ink)}}
.key span.diamond{{transform:rotate(45deg) scale(.75)}}
.key .shape{{background:var(--soft);width:.6rem;height:.6rem}} .key .shape.round{{border-radius:50%}}
.key .shape.ring{{background:none;border:2.5px solid var(--soft);border-radius:50%}}
.charts{{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,24rem),1fr));gap:1.8rem 2.2rem}}
.matrices{{display:flex;flex-wrap:wrap;gap:1.8rem 2.6rem}} .matrices figure{{max-width:100%}}
figure{{margin:0;min-width:0;break-inside:avoid;position:relative}}
button{{font:inherit;color:var(--soft);background:none;border:1px solid var(--line);border-radius:5px;cursor:pointer;
 padding:.1rem .55rem;line-height:1.4}}
button:hover:enabled{{color:var(--ink);border-color:var(--axis)}} button:disabled{{opacity:.45;cursor:default}}
header{{position:relative}} #theme{{float:right;margin:.2rem 0 .5rem 1rem;font-size:.82rem}}
.zoom{{display:flex;gap:.35rem;justify-content:flex-end;font-size:.8rem;margin-top:.15rem}}
.zoom button{{min-width:1.9rem}}
.key button,th button{{border:0;padding:0;text-align:inherit;color:inherit;font-weight:inherit}}
.key button[aria-pressed=false]{{text-decoration:line-through}}
.key button[aria-pressed=false] span{{opacity:.25}}
th button::after{{content:"\\2195";opacity:.45;margin-left:.25rem;font-size:.85em}}
th[aria-sort=ascending] button::after{{content:"\\2191";opacity:1}}
th[aria-sort=descending] button::after{{content:"\\2193";opacity:1}}
.remarks{{list-style:none;margin:.3rem 0 1rem;padding:0;max-width:50rem}}
.remarks li{{display:grid;grid-template-columns:4.6rem 1fr;gap:.2rem .8rem;padding:.5rem 0 .5rem .8rem;
 border-left:3px solid var(--line);margin:.5rem 0}}
details{{margin:.8rem 0 1.2rem}} summary{{cursor:pointer;color:var(--soft)}}
.remarks p{{margin:0}} .remarks p+p{{color:var(--soft);margin-top:.2rem;font-size:.93rem}}
.remarks b{{font-weight:600;font-size:.9rem}}
.remarks .warning{{border-color:var(--alarm)}} .remarks .warning b{{color:var(--alarm)}}
.remarks .note{{border-color:var(--accent);color:inherit;font-size:inherit}} .remarks .note b{{color:var(--accent)}}
.remarks .fine{{border-color:var(--good)}} .remarks .fine b{{color:var(--good)}}
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
svg .level{{stroke:var(--axis);stroke-dasharray:4 4;stroke-width:1.4}}
svg .square{{stroke-linecap:square}} svg .hole{{stroke:var(--paper);stroke-linecap:round;stroke-width:2}}
svg .ring{{stroke-opacity:1}} svg .hole.large{{stroke-width:2.6}}
svg.plot{{overflow:visible}} svg.plot.zoomed{{overflow:hidden}} svg.plot path{{vector-effect:non-scaling-stroke}}
svg .bars path{{fill-opacity:.78;stroke:none}} svg .bars.counts path{{fill:var(--axis);fill-opacity:.35}}
svg .off{{display:none}}
svg .selection{{fill:var(--accent);fill-opacity:.13;stroke:var(--accent)}}
svg.chart[data-x]{{touch-action:pan-x pan-y}}
svg .whisker{{stroke:var(--ink);stroke-width:3;stroke-opacity:.35;stroke-linecap:round}}
svg .score{{fill:var(--ink);stroke:var(--paper);stroke-width:1.5}}
svg .empty{{fill:var(--panel)}} svg .right{{fill:var(--accent)}} svg .wrong{{fill:var(--wrong)}}
svg .mixed{{fill:var(--axis)}} svg .right,svg .wrong,svg .mixed{{opacity:var(--depth)}}
svg text.cell{{text-anchor:middle;fill:var(--ink);font-size:11px}}
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
 :root,:root[data-theme=dark]{{color-scheme:light;{_LIGHT}}}
 body{{font-size:10.5pt}} main{{max-width:none;padding:0}} nav,#tip,#theme,.zoom,th button::after{{display:none}}
 *{{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
 section{{margin-top:1.4rem;padding-top:1rem}} h2,h3{{break-after:avoid}} tr,svg{{break-inside:avoid}}
 .scroll,.matrix{{overflow:visible;max-height:none}} .matrix svg.chart{{max-width:100%}}
}}
"""
