/* The share of the total variance: each component's as a bar, their sum as a line, and where it passes 80, 90, 95 %. */
const chart = byId("variance-chart");
const readout = byId("variance-live");
const kept = data.ratio.length;
let pointed = -1;
function drawVariance() {
  const width = Math.max(260, chart.clientWidth), height = Math.round(clamp(width * 0.42, 220, 340));
  const left = 46, right = 14, top = 12, bottom = 30, inner = width - left - right, tall = height - top - bottom;
  const band = inner / Math.max(1, kept), x = (index) => left + band * (index + 0.5), y = (share) => top + tall * (1 - share);
  const art = svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  for (const share of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
    svg("line", { x1: left, x2: width - right, y1: y(share), y2: y(share), class: share ? "" : "zero" }, art);
    svg("text", { x: left - 8, y: y(share) + 4, "text-anchor": "end" }, art).textContent = Math.round(100 * share) + " %";
  }
  data.ratio.forEach((share, index) => {
    if (share === null) return;
    const thick = band > 3 ? Math.min(34, band * 0.7) : Math.max(0.6, band);
    svg("rect", { x: x(index) - thick / 2, width: thick, y: y(share), height: Math.max(0, y(0) - y(share)), class: "share" + (index === pointed ? " pointed" : "") }, art);
  });
  const places = data.cumulative.map((share, index) => share === null ? null : [x(index), y(Math.min(1, share))]).filter(Boolean);
  if (places.length) svg("path", { d: "M" + places.map((at) => at[0].toFixed(1) + "," + at[1].toFixed(1)).join("L"), class: "sum-line" }, art);
  if (band > 9) for (const at of places) svg("circle", { cx: at[0], cy: at[1], r: 3, class: "sum-dot" }, art);
  for (const share of data.shares) {
    const index = data.cumulative.findIndex((value) => value !== null && value >= share - 1e-12);
    if (index < 0) continue;
    svg("path", { d: `M${left},${y(share)}H${x(index)}V${y(0)}`, class: "threshold" }, art);
    svg("circle", { cx: x(index), cy: y(data.cumulative[index]), r: 4.5, class: "reached" }, art);
  }
  const every = Math.max(1, Math.ceil(kept / Math.max(2, inner / 44)));
  const stride = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((size) => size >= every) || every;
  for (let index = 0; index < kept; index++) {
    if (index !== 0 && (index + 1) % stride) continue;
    if (index === 0 && stride > 1 && x(stride - 1) - x(0) < 24) continue;
    svg("text", { x: x(index), y: height - 10, "text-anchor": "middle" }, art).textContent = index + 1;
  }
  if (pointed >= 0 && places[pointed]) svg("circle", { cx: places[pointed][0], cy: places[pointed][1], r: 6, class: "pointed" }, art);
  chart.replaceChildren(art);
  chart.onpointermove = (event) => {
    const area = chart.getBoundingClientRect();
    const index = Math.floor(((event.clientX - area.left) * width / area.width - left) / band);
    point(index >= 0 && index < kept ? index : -1);
  };
}
function point(index) {
  if (index === pointed) return;
  pointed = index;
  readout.textContent = index < 0 ? "\u00a0" : `PC${index + 1}: ${percent(data.ratio[index], 2)} by itself, ${percent(data.cumulative[index], 2)} together with those before it`;
  drawVariance();
}
chart.addEventListener("pointerleave", () => point(-1));
chart.addEventListener("blur", () => point(-1));
chart.addEventListener("keydown", (event) => {
  const move = { ArrowRight: pointed + 1, ArrowLeft: pointed - 1, Home: 0, End: kept - 1 }[event.key];
  if (move === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  point(clamp(move, 0, kept - 1));
});
drawVariance();
new ResizeObserver(drawVariance).observe(chart);
