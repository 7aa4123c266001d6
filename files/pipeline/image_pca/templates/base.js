/* What all parts of the page share: the data, small makers of elements, the state of the map. */
const data = JSON.parse(document.getElementById("data").textContent);
const COLOURS = 8, SHAPES = 6, STYLED = COLOURS * SHAPES;
const byId = (id) => document.getElementById(id);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

function svg(name, attributes, parent) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes || {}) element.setAttribute(key, attributes[key]);
  if (parent) parent.append(element);
  return element;
}
function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const key in attributes || {}) element.setAttribute(key, attributes[key]);
  element.append(...children);
  return element;
}

/* The same rule as in report_text.visible: nothing in a name is invisible, nothing turns its surroundings round. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/u;
const ESCAPES = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0" };
function escapeOf(char) {
  const code = char.codePointAt(0);
  if (ESCAPES[char]) return ESCAPES[char];
  if (code >= 0xdc80 && code < 0xdd00) return "\\x" + (code - 0xdc00).toString(16).padStart(2, "0");
  return "U+" + code.toString(16).toUpperCase().padStart(4, "0");
}
function pieces(text) {
  const chars = Array.from(text);
  return chars.map((char, index) => {
    const before = index ? chars[index - 1] : "";
    if (char === "\u200d" && before && before.codePointAt(0) >= 0x300) return [char, false];
    if (HIDDEN.test(char) || (/\p{Zs}/u.test(char) && char !== " ")) return [escapeOf(char), true];
    if (char === " " && (index === 0 || index === chars.length - 1 || before === " ")) return ["\u2423", true];
    return [char, false];
  });
}
function visible(text) {
  const result = make("bdi");
  for (const [piece, escaped] of pieces(text)) result.append(escaped ? make("span", { class: "ctl" }, piece) : piece);
  result.normalize();
  return result;
}
const spoken = (text) => pieces(text).map((piece) => piece[0]).join("");
const labelName = (label) => data.labels[label].name === "" ? "(no folder)" : spoken(data.labels[label].name);
const labelNode = (label) => data.labels[label].name === "" ? make("span", { class: "muted" }, "(no folder)") : visible(data.labels[label].name);

const number = new Intl.NumberFormat("en");
function score(value) {
  if (value === null) return "–";
  return (Math.abs(value) < 1000 ? value.toPrecision(3) : number.format(Math.round(value))).replace("-", "−");
}
const short = (value) => String(value).replace("-", "−");
const percent = (share, digits = 1) => share === null || share === undefined ? "–" : (100 * share).toFixed(digits) + " %";

/* Colour and shape change together from label to label, so that neighbours in the legend differ in both. */
const styleOf = (rank) => rank < 0 || rank >= STYLED ? "other" : "c" + (rank % COLOURS);
const shapeOf = (rank) => rank < 0 || rank >= STYLED ? 0 : (rank % COLOURS + Math.floor(rank / COLOURS)) % SHAPES;
const PATHS = [
  (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`,
  (r) => `M${-r * 0.88},${-r * 0.88}h${r * 1.76}v${r * 1.76}h${-r * 1.76}Z`,
  (r) => `M0,${-r * 1.2}L${r * 1.12},${r * 0.8}L${-r * 1.12},${r * 0.8}Z`,
  (r) => `M0,${-r * 1.3}L${r * 1.1},0L0,${r * 1.3}L${-r * 1.1},0Z`,
  (r) => `M0,${r * 1.2}L${r * 1.12},${-r * 0.8}L${-r * 1.12},${-r * 0.8}Z`,
  (r) => { const a = r * 0.4, b = r * 1.1; return `M${-a},${-b}h${2 * a}v${b - a}h${b - a}v${2 * a}h${a - b}v${b - a}h${-2 * a}v${a - b}h${a - b}v${-2 * a}h${b - a}Z`; },
];
const markPath = (rank, radius) => PATHS[shapeOf(rank)](radius);
for (const swatch of document.querySelectorAll("svg.swatch")) {
  const rank = Number(swatch.dataset.rank ?? -1);
  svg("path", { d: markPath(rank, 5.5), class: "mark " + styleOf(rank) }, swatch);
}
for (const image of document.querySelectorAll("img[data-thumb]")) image.src = data.pictures[image.dataset.thumb];

const state = { x: 0, y: Math.min(1, data.scores.length - 1), chosen: new Set(), pictures: data.pictures.length > 0, active: -1 };
const listeners = [];
const changed = (what) => listeners.forEach((listener) => listener(what));
const shown = (point) => state.chosen.size === 0 || state.chosen.has(data.label[point]);
const axisTitle = (axis) => `PC${axis + 1} · ${percent(data.ratio[axis])}`;

/* Round steps for an axis from low to high with about `wanted` marks. */
function ticks(low, high, wanted) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const rough = span / Math.max(1, wanted), power = Math.pow(10, Math.floor(Math.log10(rough)));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const result = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) result.push(Number((n * step).toPrecision(12)));
  return result;
}
