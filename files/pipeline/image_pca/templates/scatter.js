/* The map: marks or pictures at two components' scores, with zoom, a pointer and a keyboard cursor. */
const box = byId("scatter");
const live = byId("map-live");
const stage = svg("svg", { "aria-hidden": "true" }, box);
const clip = svg("rect", {}, svg("clipPath", { id: "plot-area" }, svg("defs", {}, stage)));
const grid = svg("g", { class: "grid" }, stage);
const field = svg("g", { "clip-path": "url(#plot-area)" }, stage);
const dots = svg("g", {}, field);
const prints = svg("g", {}, field);
const cursor = svg("g", { class: "cursor", visibility: "hidden" }, field);
const ring = svg("rect", {}, cursor);
const tip = make("div", { class: "tip", hidden: "" });
box.append(tip);

const ONE = data.scores.length < 2;
const total = data.keys.length;
const view = { scale: 1, x: 0, y: 0 };
let frame = { left: 0, top: 0, width: 1, height: 1 };
let base = { x: [], y: [] };
let place = { x: new Float64Array(total), y: new Float64Array(total) };
let printed = new Uint8Array(total);

const marks = data.keys.map((key, point) => svg("path", {}, dots));
const images = new Map();
for (let point = 0; point < total; point++) {
  if (data.thumb[point] < 0) continue;
  const group = svg("g", { class: "print " + styleOf(data.label[point]) });
  svg("rect", { class: "ground" }, group);
  svg("image", { href: data.pictures[data.thumb[point]] }, group);
  svg("rect", {}, group);
  images.set(point, group);
}
/* Pictures come in the order of their importance; where two would cover each other, the earlier one stays. */
const printOrder = [...images.keys()].sort((a, b) => data.thumb[a] - data.thumb[b]);

/* With one component the height means nothing: it only keeps the marks apart, the same way each time. */
const scatterOf = (point) => { const sine = Math.sin(point * 127.1 + 11.7) * 43758.5453; return sine - Math.floor(sine); };
const valuesOf = (axis, vertical) => ONE && vertical ? data.keys.map((key, point) => scatterOf(point)) : data.scores[axis];

/* The range of values, with as much room at both ends as `pixels` take of `length`. */
function range(values, pixels, length) {
  let low = Infinity, high = -Infinity;
  for (const value of values) if (value !== null) { low = Math.min(low, value); high = Math.max(high, value); }
  if (!(high >= low)) return [-1, 1];
  const pad = (high - low) * pixels / Math.max(1, length - 2 * pixels) || Math.abs(high) * 0.1 || 1;
  return [low - pad, high + pad];
}
let limits = { x: [0, 1], y: [0, 1] };
function project() {
  base = { x: valuesOf(state.x, false), y: valuesOf(state.y, true) };
}
const toX = (value) => frame.left + frame.width * ((value - limits.x[0]) / (limits.x[1] - limits.x[0]) * view.scale + view.x);
const toY = (value) => frame.top + frame.height * (1 - ((value - limits.y[0]) / (limits.y[1] - limits.y[0]) * view.scale + view.y));
const fromX = (pixel) => limits.x[0] + ((pixel - frame.left) / frame.width - view.x) / view.scale * (limits.x[1] - limits.x[0]);
const fromY = (pixel) => limits.y[0] + (1 - (pixel - frame.top) / frame.height - view.y) / view.scale * (limits.y[1] - limits.y[0]);

function axes(width, height) {
  grid.replaceChildren();
  svg("rect", { x: frame.left, y: frame.top, width: frame.width, height: frame.height, class: "paper" }, grid);
  const right = frame.left + frame.width, bottom = frame.top + frame.height;
  for (const value of ticks(fromX(frame.left), fromX(right), frame.width / 90)) {
    const x = toX(value);
    svg("line", { x1: x, x2: x, y1: frame.top, y2: bottom, class: value === 0 ? "zero" : "" }, grid);
    svg("text", { x, y: bottom + 16, "text-anchor": "middle" }, grid).textContent = short(value);
  }
  svg("text", { x: right, y: height - 4, "text-anchor": "end", class: "axis-title" }, grid).textContent = axisTitle(state.x) + " →";
  if (ONE) return;
  for (const value of ticks(fromY(bottom), fromY(frame.top), frame.height / 70)) {
    const y = toY(value);
    svg("line", { x1: frame.left, x2: right, y1: y, y2: y, class: value === 0 ? "zero" : "" }, grid);
    svg("text", { x: frame.left - 6, y: y + 4, "text-anchor": "end" }, grid).textContent = short(value);
  }
  svg("text", { x: 12, y: frame.top, "text-anchor": "end", transform: `rotate(-90 12 ${frame.top})`, class: "axis-title" }, grid).textContent = axisTitle(state.y) + " →";
}

function choosePrints(size) {
  printed.fill(0);
  if (!state.pictures) return;
  const cell = size, taken = new Map();
  for (const point of printOrder) {
    const x = place.x[point], y = place.y[point];
    if (!shown(point) || !(x > frame.left - size && x < frame.left + frame.width + size && y > frame.top - size && y < frame.top + frame.height + size)) continue;
    const column = Math.floor(x / cell), row = Math.floor(y / cell);
    let free = true;
    for (let i = -1; i <= 1 && free; i++) for (let j = -1; j <= 1 && free; j++) {
      for (const other of taken.get((column + i) + ":" + (row + j)) || []) {
        if (Math.abs(place.x[other] - x) < size * 0.82 && Math.abs(place.y[other] - y) < size * 0.82) { free = false; break; }
      }
    }
    if (!free) continue;
    const name = column + ":" + row;
    if (!taken.has(name)) taken.set(name, []);
    taken.get(name).push(point);
    printed[point] = 1;
  }
}
const basicSize = () => clamp(frame.width / 24, 24, 42);
const pictureSize = () => Math.round(basicSize() * Math.min(2.4, Math.sqrt(view.scale)));

/* Thousands of marks follow each move: an attribute is written only when it changes, a shape computed once a size. */
const written = { class: [], d: [], transform: [] };
function put(point, name, value) {
  if (written[name][point] === value) return;
  written[name][point] = value;
  marks[point].setAttribute(name, value);
}
const paths = new Map();
function pathOf(label, radius) {
  const name = shapeOf(label) + ":" + radius;
  if (!paths.has(name)) paths.set(name, markPath(label, radius));
  return paths.get(name);
}

let waiting = 0;
function draw() { if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; drawNow(); }); }
function drawNow() {
  const width = Math.max(260, box.clientWidth), height = Math.round(clamp(width * 0.68, 320, Math.max(360, window.innerHeight * 0.78)));
  const left = ONE ? 12 : 52;
  frame = { left, top: 10, width: width - left - 12, height: height - 10 - 42 };
  stage.setAttribute("viewBox", `0 0 ${width} ${height}`);
  for (const key of ["left", "top", "width", "height"]) clip.setAttribute({ left: "x", top: "y" }[key] || key, frame[key]);
  const room = (state.pictures ? basicSize() / 2 : 6) + 8;
  limits = { x: range(base.x, room, frame.width), y: range(base.y, room, frame.height) };
  axes(width, height);
  for (let point = 0; point < total; point++) {
    const good = base.x[point] !== null && base.y[point] !== null;
    place.x[point] = good ? toX(base.x[point]) : NaN;
    place.y[point] = good ? toY(base.y[point]) : NaN;
  }
  const size = pictureSize(), radius = (total > 1200 ? 3 : total > 300 ? 4 : 5) * Math.min(1.8, Math.pow(view.scale, 0.3));
  choosePrints(size);
  for (let point = 0; point < total; point++) {
    const bright = shown(point), label = bright ? data.label[point] : -1;
    if (Number.isNaN(place.x[point]) || printed[point]) { put(point, "class", "away"); continue; }
    put(point, "class", bright ? "mark " + tint(label) : "mark faded");
    put(point, "d", pathOf(label, bright ? radius : 2));
    put(point, "transform", `translate(${place.x[point].toFixed(1)} ${place.y[point].toFixed(1)})`);
  }
  for (const [point, group] of images) {
    if (!printed[point]) { group.remove(); continue; }
    if (!group.isConnected) prints.prepend(group);
    group.setAttribute("class", "print " + tint(data.label[point]));
    for (const part of group.children) {
      const inset = part.tagName === "rect" ? 0 : 2;
      part.setAttribute("x", place.x[point] - size / 2 + inset); part.setAttribute("y", place.y[point] - size / 2 + inset);
      part.setAttribute("width", size - 2 * inset); part.setAttribute("height", size - 2 * inset);
      if (part.tagName === "rect") part.setAttribute("rx", 4);
    }
  }
  drawCursor(size, radius);
}
/* A label without a colour of its own gets the accent once it is chosen. */
const tint = (label) => styleOf(label) === "other" && state.chosen.has(label) ? "picked" : styleOf(label);

function drawCursor(size, radius) {
  const point = state.active;
  const out = point < 0 || Number.isNaN(place.x[point]);
  cursor.setAttribute("visibility", out ? "hidden" : "visible");
  tip.hidden = out;
  if (out) return;
  const half = printed[point] ? size / 2 + 3 : radius + 5;
  for (const [key, value] of [["x", place.x[point] - half], ["y", place.y[point] - half], ["width", 2 * half], ["height", 2 * half], ["rx", printed[point] ? 6 : half]]) ring.setAttribute(key, value);
  const scale = box.clientWidth / stage.viewBox.baseVal.width || 1;
  const x = place.x[point] * scale, y = place.y[point] * scale;
  const toLeft = x + half + 12 + tip.offsetWidth > box.clientWidth;
  tip.style.left = clamp(toLeft ? x - half - 12 - tip.offsetWidth : x + half + 12, 0, Math.max(0, box.clientWidth - tip.offsetWidth)) + "px";
  tip.style.top = clamp(y - tip.offsetHeight / 2, 0, Math.max(0, box.clientHeight - tip.offsetHeight)) + "px";
}

function describe(point) {
  const parts = [state.x, state.y].filter((axis, index) => !(ONE && index)).map((axis) => `PC${axis + 1} ${score(data.scores[axis][point])}`);
  return `${spoken(data.keys[point])}, label ${labelName(data.label[point])}, ${parts.join(", ")}`;
}
/* Make a point the active one: `how` is pointer (silent), key (spoken) or link (spoken and brought into view). */
function activate(point, how) {
  if (point === state.active) return;
  state.active = point;
  tip.replaceChildren();
  if (point >= 0) {
    if (data.thumb[point] >= 0) tip.append(make("img", { src: data.pictures[data.thumb[point]], alt: "" }));
    const label = make("p", { class: "tip-label" }, swatchOf(data.label[point]), labelNode(data.label[point]));
    const scores = make("p", { class: "tip-scores" });
    [state.x, state.y].forEach((axis, index) => { if (!(ONE && index)) scores.append(make("span", {}, `PC${axis + 1} `, make("b", {}, score(data.scores[axis][point])))); });
    tip.append(make("div", {}, label, make("p", { class: "tip-key" }, visible(data.keys[point])), scores));
    if (how !== "pointer") { keepInView(point); live.textContent = describe(point); }
  }
  draw();
}
function swatchOf(label) {
  const swatch = svg("svg", { class: "swatch", viewBox: "-8 -8 16 16", "aria-hidden": "true" });
  svg("path", { d: markPath(label, 5.5), class: "mark " + styleOf(label) }, swatch);
  return swatch;
}
function keepInView(point) {
  const x = toX(base.x[point]), y = toY(base.y[point]), edge = 30;
  if (x < frame.left + edge || x > frame.left + frame.width - edge) view.x += (frame.left + frame.width / 2 - x) / frame.width;
  if (y < frame.top + edge || y > frame.top + frame.height - edge) view.y -= (frame.top + frame.height / 2 - y) / frame.height;
  confine();
}
function confine() {
  view.scale = clamp(view.scale, 1, 40);
  view.x = clamp(view.x, 1 - view.scale, 0);
  view.y = clamp(view.y, 1 - view.scale, 0);
  box.classList.toggle("zoomed", view.scale > 1);
}
/* Zoom by `factor`, keeping what is under the pixel (px, py) where it is. */
function zoom(factor, px = frame.left + frame.width / 2, py = frame.top + frame.height / 2) {
  const before = view.scale, u = (px - frame.left) / frame.width, v = 1 - (py - frame.top) / frame.height;
  view.scale = clamp(before * factor, 1, 40);
  view.x = u - (u - view.x) * view.scale / before;
  view.y = v - (v - view.y) * view.scale / before;
  confine(); draw();
}
function zoomAll() { view.scale = 1; view.x = view.y = 0; confine(); draw(); }
function nearest(x, y, reach) {
  let best = -1, least = reach * reach;
  for (let point = 0; point < total; point++) {
    if (!shown(point)) continue;
    const distance = (place.x[point] - x) ** 2 + (place.y[point] - y) ** 2;
    const weighed = printed[point] ? distance * 0.5 : distance;
    if (weighed < least) { least = weighed; best = point; }
  }
  return best;
}
