"""What a page can do beyond being read: values on hovering, zoom, keys that switch series, sorting, light and dark.

Without a script the page shows the same: everything here is added to it, and nothing in it waits for this. The points
are read back from the drawn paths and the axes from data attributes, so that no value is in the file twice.
"""

from __future__ import annotations

_START = """
(() => {
'use strict';
const minus = text => text.replace('-', '\\u2212');
const button = (words, label, act) => {
  const made = document.createElement('button');
  made.type = 'button'; made.textContent = words; made.title = label; made.setAttribute('aria-label', label);
  made.addEventListener('click', act);
  return made;
};
const tip = document.createElement('div');
tip.id = 'tip'; tip.hidden = true; tip.setAttribute('role', 'status'); document.body.append(tip);
const show = (words, x, y) => {
  tip.textContent = words; tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - box.width - 6)) + 'px';
  tip.style.top = Math.max(4, y - box.height - 12) + 'px';
};
const hide = () => { tip.hidden = true; };
"""

_THEME = """
const root = document.documentElement, dark = matchMedia('(prefers-color-scheme: dark)');
const kept = () => { try { return localStorage.getItem('seqtrain-theme'); } catch { return null; } };
const isDark = () => (root.dataset.theme || (dark.matches ? 'dark' : 'light')) === 'dark';
const theme = button('', 'Light or dark', () => {
  root.dataset.theme = isDark() ? 'light' : 'dark'; named();
  try { localStorage.setItem('seqtrain-theme', root.dataset.theme); } catch { /* a file may not be allowed to */ }
});
const named = () => { theme.textContent = isDark() ? 'Light' : 'Dark'; };
theme.id = 'theme';
if (kept()) root.dataset.theme = kept();
named(); dark.addEventListener('change', named);
document.querySelector('header').prepend(theme);
"""

_AXIS = """
const axis = text => {
  const [low, high, start, end, log] = text.split(' ').map(Number);
  const value = pixel => {
    const share = (pixel - start) / (end - start);
    return log ? low * Math.pow(high / low, share) : low + share * (high - low);
  };
  const pixel = at => start + (end - start) * (log ? Math.log(at / low) / Math.log(high / low)
    : (at - low) / (high - low));
  const words = place => {
    const at = value(place), unit = log ? at : high - low;
    const size = Math.max(0, Math.min(6, 3 - Math.floor(Math.log10(Math.abs(unit) || 1))));
    return minus(Math.abs(at) >= 1e4 || size < 6 ? at.toLocaleString('en', {maximumFractionDigits: size})
      : at.toPrecision(3));
  };
  const ticks = (from, to) => {
    const least = Math.min(value(from), value(to)), most = Math.max(value(from), value(to)), found = [];
    if (log && most / least > 30) {
      for (let p = Math.ceil(Math.log10(least)); p <= Math.log10(most); p++) found.push(Math.pow(10, p));
      return found.map(at => [pixel(at), minus(at >= 1e-3 && at < 1e6 ? at.toLocaleString('en') : at.toExponential())]);
    }
    const raw = (most - least) / 5, power = Math.pow(10, Math.floor(Math.log10(raw)));
    const step = [1, 2, 5, 10].find(factor => factor * power >= raw * 0.7) * power;
    for (let i = Math.ceil(least / step - 1e-9); i <= most / step + 1e-9; i++) found.push(i * step + 0); // no -0
    const tiny = Math.max(Math.abs(least), Math.abs(most)) < 1e-3;
    const digits = Math.min(20, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
    return found.map(at => [pixel(at), minus(tiny ? at.toExponential(2)
      : at.toLocaleString('en', {minimumFractionDigits: digits, maximumFractionDigits: digits}))]);
  };
  return {words, ticks};
};
const child = (parent, name, attributes, words) => {
  const made = document.createElementNS(parent.namespaceURI, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (words !== undefined) made.textContent = words;
  return parent.appendChild(made);
};
"""

# Zooming changes the viewBox of the plot, an SVG inside the chart; its ticks are drawn anew for what is then seen.
_ZOOM = """
const zooming = (svg, changed) => {
  const plot = svg.querySelector('svg.plot'), ticks = svg.querySelector('g.ticks'), drawn = [...ticks.childNodes];
  const [left, top, width, height] = plot.getAttribute('viewBox').split(' ').map(Number);
  const scales = {x: axis(svg.dataset.x), y: axis(svg.dataset.y)};
  let view = [left, top, width, height];
  const isWhole = () => view[2] > width * 0.999 && view[3] > height * 0.999;
  const outer = (x, y) => [left + (x - view[0]) / view[2] * width, top + (y - view[1]) / view[3] * height];
  const inner = (x, y) => [view[0] + (x - left) / width * view[2], view[1] + (y - top) / height * view[3]];
  const redraw = () => {
    ticks.replaceChildren(...(isWhole() || !drawn.length ? drawn : []));
    if (isWhole() || !drawn.length) return;
    for (const [pixel, words] of scales.y.ticks(view[1], view[1] + view[3])) {
      const y = outer(0, pixel)[1];
      child(ticks, 'line', {class: 'grid', x1: left, x2: left + width, y1: y, y2: y});
      child(ticks, 'text', {class: 'tick end', x: left - 7, y: y + 4}, words);
    }
    for (const [pixel, words] of scales.x.ticks(view[0], view[0] + view[2])) {
      const x = outer(pixel, 0)[0], foot = top + height;
      child(ticks, 'line', {class: 'grid', x1: x, x2: x, y1: foot, y2: foot + 4});
      child(ticks, 'text', {class: 'tick mid', x, y: foot + 18}, words);
    }
  };
  const look = (x, y, w, h) => {
    w = Math.min(width, Math.max(w, width / 500)); h = Math.min(height, Math.max(h, height / 500));
    view = [Math.min(Math.max(x, left), left + width - w), Math.min(Math.max(y, top), top + height - h), w, h];
    plot.setAttribute('viewBox', view.map(each => +each.toFixed(4)).join(' '));
    plot.classList.toggle('zoomed', !isWhole());
    redraw(); changed(isWhole());
  };
  const by = factor => look(view[0] + view[2] * (1 - factor) / 2, view[1] + view[3] * (1 - factor) / 2,
    view[2] * factor, view[3] * factor);
  const pan = (x, y) => look(view[0] + x * view[2] / 4, view[1] + y * view[3] / 4, view[2], view[3]);
  const reset = () => look(left, top, width, height);
  return {box: [left, top, width, height], scales, outer, inner, look, by, pan, reset, isWhole, view: () => view};
};
const selecting = (svg, zoom) => {
  const [left, top, width, height] = zoom.box;
  let start = null, mark = null;
  const at = event => {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [Math.min(Math.max(place.x, left), left + width), Math.min(Math.max(place.y, top), top + height),
      place.x === Math.min(Math.max(place.x, left - 3), left + width + 3) && place.y < top + height + 3];
  };
  // A drag along one axis keeps the whole of the other.
  const area = ([x, y]) => {
    const far = [Math.abs(x - start[0]), Math.abs(y - start[1])];
    const flat = far[1] < 12 && far[0] > far[1], tall = far[0] < 12 && far[1] > far[0];
    return [tall ? left : Math.min(x, start[0]), flat ? top : Math.min(y, start[1]), tall ? width : far[0],
      flat ? height : far[1], Math.max(...far) > 6];
  };
  const end = () => { if (mark) mark.remove(); start = mark = null; };
  svg.addEventListener('pointerdown', event => {
    if (event.pointerType === 'touch' || event.button || !at(event)[2]) return;
    start = at(event); event.preventDefault(); svg.focus({preventScroll: true});
  });
  // A drag may end outside the chart.
  document.addEventListener('pointermove', event => {
    if (!start) return;
    if (mark) mark.remove();
    const [x, y, w, h, far] = area(at(event));
    mark = far ? child(svg, 'rect', {class: 'selection', x, y, width: w, height: h}) : null;
  });
  document.addEventListener('pointercancel', end);
  document.addEventListener('pointerup', event => {
    if (!start) return;
    const [x, y, w, h, far] = area(at(event));
    end();
    if (!far) return;
    const [a, b] = zoom.inner(x, y), [c, d] = zoom.inner(x + w, y + h);
    zoom.look(a, b, c - a, d - b);
  });
  svg.addEventListener('dblclick', zoom.reset);
  return () => mark !== null;
};
"""

_READ = """
const reading = (svg, zoom) => {
  const paths = [...svg.querySelectorAll('path.line, path.dots')]
    .filter(path => path.matches('.line') || !svg.querySelector('path.line'));
  const series = paths.map(path => ({
    path, line: path.matches('.line'), names: (path.dataset.names || '').split('\\n'),
    points: (path.getAttribute('d').match(/[-\\d.]+ [-\\d.]+/g) || []).map(pair => pair.split(' ').map(Number)),
  }));
  const {xLabel, yLabel} = svg.dataset, {x: toX, y: toY} = zoom.scales, marks = [];
  const clear = () => { hide(); marks.splice(0).forEach(mark => mark.remove()); };
  const [left, top, width, height] = zoom.box;
  const inside = ([x, y]) => x > left - 1 && x < left + width + 1 && y > top - 1 && y < top + height + 1;
  const visible = each => !each.path.closest('.off');
  const read = (x, y) => {
    clear();
    const found = [];
    for (const each of series.filter(visible)) {
      let best = null, least = each.line ? 40 : 14;
      each.points.forEach((point, k) => {
        const place = zoom.outer(...point);
        const far = each.line ? Math.abs(place[0] - x) : Math.hypot(place[0] - x, place[1] - y);
        if (far < least && inside(place)) { least = far; best = {each, point, place, far, name: each.names[k]}; }
      });
      if (best) found.push(best);
    }
    // Of dots the nearest one, of lines each.
    const shown = found.some(one => one.each.line) ? found : found.sort((a, b) => a.far - b.far).slice(0, 1);
    if (!shown.length) return;
    const lines = shown.map(({each, point, place, name}) => {
      marks.push(child(svg, 'circle', {class: 'spot', cx: place[0], cy: place[1], r: 5}));
      if (each.line) return each.path.dataset.name + ': ' + toY.words(point[1]);
      const values = [xLabel && xLabel + ' ' + toX.words(point[0]), yLabel && yLabel + ' ' + toY.words(point[1])];
      return [name, values.filter(Boolean).join(', ')].filter(Boolean).join('\\n');
    });
    const head = shown[0].each.line ? [(xLabel ? xLabel + ' ' : '') + toX.words(shown[0].point[0])] : [];
    const corner = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
    if (lines.join('')) show([...head, ...lines].join('\\n'), corner.x, corner.y);
  };
  let stop = -1;
  const walk = way => {
    const places = series.filter(visible).flatMap(each => each.points.map(point => zoom.outer(...point)))
      .filter(inside).sort((a, b) => a[0] - b[0]);
    if (!places.length) return;
    stop = Math.min(Math.max(stop + way * Math.max(1, Math.floor(places.length / 100)), 0), places.length - 1);
    read(...places[stop]);
  };
  return {read, walk, clear};
};
"""

_CHARTS = """
for (const svg of document.querySelectorAll('svg.chart')) {
  const title = svg.querySelector('title'), text = svg.querySelector('desc').textContent;
  svg.setAttribute('aria-label', title.textContent + '. ' + text);
  svg.removeAttribute('aria-labelledby'); title.remove(); // a native tooltip would cover ours
  for (const each of svg.querySelectorAll('title')) { each.parentNode.dataset.tip = each.textContent; each.remove(); }
  const tipped = event => event.target.closest && event.target.closest('[data-tip]');
  const say = event => { const part = tipped(event); if (part) show(part.dataset.tip, event.clientX, event.clientY); };
  const figure = svg.closest('figure');
  for (const item of figure.querySelectorAll('.key li[data-s], .key li[data-t]')) {
    const [name, value] = item.dataset.s === undefined ? ['t', item.dataset.t] : ['s', item.dataset.s];
    const switched = button('', 'Show or hide ' + item.textContent, () => {
      const off = switched.getAttribute('aria-pressed') === 'true';
      switched.setAttribute('aria-pressed', String(!off));
      for (const part of svg.querySelectorAll('[data-' + name + '="' + value + '"]')) {
        part.dataset.hidden = (part.dataset.hidden || '').replace(name, '') + (off ? name : '');
        part.classList.toggle('off', part.dataset.hidden !== '');
      }
    });
    switched.setAttribute('aria-pressed', 'true');
    switched.append(...item.childNodes); item.append(switched);
  }
  if (!svg.dataset.x) {
    svg.addEventListener('pointermove', event => tipped(event) ? say(event) : hide());
    svg.addEventListener('pointerleave', hide);
    continue;
  }
  const tools = document.createElement('div'); tools.className = 'zoom';
  const whole = button('Reset', 'Show all of the chart again', () => zoom.reset()); whole.disabled = true;
  const zoom = zooming(svg, isWhole => { whole.disabled = isWhole; reader.clear(); });
  const reader = reading(svg, zoom);
  tools.append(button('\\u2212', 'Zoom out', () => zoom.by(1.6)), button('+', 'Zoom in', () => zoom.by(1 / 1.6)),
    whole);
  svg.after(tools);
  const isSelecting = selecting(svg, zoom);
  svg.addEventListener('pointermove', event => {
    if (isSelecting()) return reader.clear();
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    reader.read(place.x, place.y); say(event);
  });
  svg.addEventListener('pointerleave', reader.clear);
  svg.addEventListener('blur', reader.clear);
  svg.tabIndex = 0;
  svg.setAttribute('aria-description',
    'Plus and minus zoom, zero shows all, arrows read values, with shift they move.');
  svg.addEventListener('keydown', event => {
    const moves = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
    const move = moves[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === '+' || event.key === '=') zoom.by(1 / 1.6);
    else if (event.key === '-') zoom.by(1.6);
    else if (event.key === '0' || event.key === 'Escape') zoom.reset();
    else if (move && event.shiftKey) zoom.pan(...move);
    else if (move && move[0]) reader.walk(move[0]);
    else return;
    event.preventDefault();
  });
}
"""

_SORT = """
const figureOf = text => {
  const found = text.replace(/,/g, '').replace('\\u2212', '-').match(/^-?[\\d.]+(e[-\\u2212\\d]+)?/);
  return found ? Number(found[0].replace('\\u2212', '-')) : NaN;
};
for (const table of document.querySelectorAll('table.plain')) {
  const rows = [...table.tBodies[0].rows], heads = [...table.tHead.rows[0].cells];
  if (rows.length < 6) continue;
  heads.forEach((head, column) => {
    const sort = button('', 'Sort by ' + head.textContent, () => {
      const rising = head.getAttribute('aria-sort') === 'descending';
      const values = new Map(rows.map(row => [row, row.cells[column].textContent]));
      const compare = (a, b) => {
        const [x, y] = [values.get(a), values.get(b)], [p, q] = [figureOf(x), figureOf(y)];
        if (isNaN(p) !== isNaN(q)) return isNaN(p) ? 1 : -1; // what has no number goes last, whichever way
        return (isNaN(p) ? x.localeCompare(y) : p - q) * (rising ? 1 : -1);
      };
      heads.forEach(each => each.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', rising ? 'ascending' : 'descending');
      table.tBodies[0].append(...rows.slice().sort(compare));
    });
    sort.append(...head.childNodes); head.append(sort);
  });
}
})();
"""

SCRIPT = "".join([_START, _THEME, _AXIS, _ZOOM, _READ, _CHARTS, _SORT])
