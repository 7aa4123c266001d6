/* Hands on the map: pointer, touch, keyboard, the choice of axes and labels, and links from elsewhere on the page. */
const pointers = new Map();
let dragged = false;
function local(event) {
  const area = stage.getBoundingClientRect(), scale = stage.viewBox.baseVal.width / area.width;
  return { x: (event.clientX - area.left) * scale, y: (event.clientY - area.top) * scale };
}
stage.addEventListener("pointerdown", (event) => { pointers.set(event.pointerId, local(event)); dragged = false; });
stage.addEventListener("pointermove", (event) => {
  const now = local(event), before = pointers.get(event.pointerId);
  if (!before) { activate(nearest(now.x, now.y, 36), "pointer"); return; }
  if (pointers.size === 2) {
    const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
    const was = Math.hypot(before.x - other.x, before.y - other.y), is = Math.hypot(now.x - other.x, now.y - other.y);
    if (was > 0) zoom(is / was, (now.x + other.x) / 2, (now.y + other.y) / 2);
    dragged = true;
  } else if (dragged || Math.hypot(now.x - before.x, now.y - before.y) > 4) {
    if (view.scale > 1 && !dragged) stage.setPointerCapture(event.pointerId);
    dragged = true;
    view.x += (now.x - before.x) / frame.width; view.y -= (now.y - before.y) / frame.height;
    confine(); draw();
  } else return;
  pointers.set(event.pointerId, now);
});
for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => pointers.delete(event.pointerId));
stage.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") activate(-1, "pointer"); pointers.delete(event.pointerId); });
stage.addEventListener("click", (event) => { if (!dragged) { const at = local(event); activate(nearest(at.x, at.y, 36), "key"); } });
stage.addEventListener("dblclick", (event) => { const at = local(event); zoom(2, at.x, at.y); });
stage.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  const at = local(event);
  zoom(Math.exp(-clamp(event.deltaY, -60, 60) / 120), at.x, at.y);
}, { passive: false });
byId("zoom-in").addEventListener("click", () => zoom(1.6));
byId("zoom-out").addEventListener("click", () => zoom(1 / 1.6));
byId("zoom-all").addEventListener("click", zoomAll);

/* The next point in a direction: near, and rather straight ahead than aside. */
function step(dx, dy) {
  const from = state.active;
  if (from < 0) { activate(nearest(frame.left + frame.width / 2, frame.top + frame.height / 2, 1e6), "key"); return; }
  let best = -1, least = Infinity;
  for (let point = 0; point < total; point++) {
    if (point === from || !shown(point)) continue;
    const x = place.x[point] - place.x[from], y = place.y[point] - place.y[from];
    const ahead = x * dx + y * dy, aside = Math.abs(x * dy) + Math.abs(y * dx);
    if (!(ahead > 0.01)) continue;
    const cost = ahead + 2.5 * aside;
    if (cost < least) { least = cost; best = point; }
  }
  if (best >= 0) activate(best, "key");
}
function outermost(sign) {
  let best = -1;
  for (let point = 0; point < total; point++) {
    if (shown(point) && !Number.isNaN(place.x[point]) && (best < 0 || sign * (place.x[point] - place.x[best]) > 0)) best = point;
  }
  if (best >= 0) activate(best, "key");
}
const KEYS = {
  ArrowRight: () => step(1, 0), ArrowLeft: () => step(-1, 0), ArrowUp: () => step(0, -1), ArrowDown: () => step(0, 1),
  Home: () => outermost(-1), End: () => outermost(1), Escape: () => activate(-1, "key"),
  "+": () => zoomHere(1.6), "=": () => zoomHere(1.6), "-": () => zoomHere(1 / 1.6), "0": zoomAll,
};
function zoomHere(factor) {
  if (state.active < 0) zoom(factor); else zoom(factor, place.x[state.active], place.y[state.active]);
}
box.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key]) return;
  event.preventDefault();
  KEYS[event.key]();
});
box.addEventListener("focus", () => { if (state.active < 0 && box.matches(":focus-visible")) step(1, 0); });
box.addEventListener("blur", () => activate(-1, "pointer"));

const selects = { x: byId("axis-x"), y: byId("axis-y") };
for (const name of ["x", "y"]) {
  data.scores.forEach((values, axis) => selects[name].append(new Option(axisTitle(axis), axis)));
  selects[name].value = state[name];
  selects[name].addEventListener("change", () => {
    const other = name === "x" ? "y" : "x", chosen = Number(selects[name].value);
    if (chosen === state[other] && !ONE) { state[other] = state[name]; selects[other].value = state[other]; }
    state[name] = chosen;
    project(); zoomAll(); changed("axes");
  });
}
if (ONE) {
  selects.y.closest("label").hidden = true; selects.x.disabled = true;
  byId("map-help").prepend("There is one component only: the height of a mark has no meaning. ");
}
for (const radio of byId("marks").querySelectorAll("input")) {
  radio.checked = (radio.value === "pictures") === state.pictures;
  radio.addEventListener("change", () => { state.pictures = radio.value === "pictures"; draw(); });
}
byId("marks").hidden = data.pictures.length === 0;

const legend = byId("legend");
const entries = data.labels.map((label, rank) => {
  const button = make("button", { type: "button", "aria-pressed": "false" }, swatchOf(rank),
    make("span", { class: "name", title: label.name }, labelNode(rank)), make("span", { class: "number" }, number.format(label.rows)));
  button.addEventListener("click", () => {
    if (!state.chosen.delete(rank)) state.chosen.add(rank);
    changed("labels");
  });
  legend.append(make("li", {}, button));
  return button;
});
byId("legend-hint").hidden = entries.length < 2;
if (entries.length === 1) entries[0].disabled = true;
byId("legend-find").hidden = entries.length < 12;
byId("legend-find").addEventListener("input", (event) => {
  const wanted = event.target.value.trim().toLowerCase();
  entries.forEach((button, rank) => { button.parentElement.hidden = !labelName(rank).toLowerCase().includes(wanted); });
});
byId("legend-all").addEventListener("click", () => { state.chosen.clear(); changed("labels"); entries[0].focus(); });
listeners.push((what) => {
  if (what !== "labels") return;
  entries.forEach((button, rank) => button.setAttribute("aria-pressed", String(state.chosen.has(rank))));
  byId("legend-all").hidden = state.chosen.size === 0;
  const seen = data.label.filter((label, point) => shown(point)).length;
  live.textContent = state.chosen.size ? `${number.format(seen)} images of ${[...state.chosen].map(labelName).join(", ")} shown` : "All images shown";
  if (state.active >= 0 && !shown(state.active)) activate(-1, "pointer");
  draw();
});

/* Show a point from elsewhere on the page. */
function show(point) {
  if (!shown(point)) { state.chosen.clear(); changed("labels"); }
  box.focus({ preventScroll: true });
  box.scrollIntoView({ block: "center" });
  activate(point, "link");
}
for (const tile of document.querySelectorAll(".tile")) {
  tile.disabled = Number(tile.dataset.point) < 0;
  tile.addEventListener("click", () => {
    const strip = tile.closest(".strip"), axis = [...document.querySelectorAll(".strip")].indexOf(strip);
    if (strip && axis !== state.x && axis !== state.y) {
      selects.x.value = axis; selects.x.dispatchEvent(new Event("change"));
    }
    show(Number(tile.dataset.point));
  });
}
function tellShare() {
  const axes = ONE || state.x === state.y ? [state.x] : [state.x, state.y], share = axes.reduce((sum, axis) => sum + data.ratio[axis], 0);
  byId("map-share").textContent = axes.some((axis) => data.ratio[axis] === null || data.ratio[axis] === undefined) ? "" :
    ` What is seen here is ${percent(share)} of the variance.`;
}
listeners.push((what) => { if (what === "axes") tellShare(); });
tellShare();
project();
drawNow();
new ResizeObserver(draw).observe(box);
