/* Tables: the points as text, page by page; sorting; what is long opens on demand. */
const PAGE = 25;
const table = byId("points-table");
const search = byId("points-find");
const components = data.scores.length;
let first = 0, sortColumn = -1, descending = false;
const columnValue = [(p) => data.keys[p], (p) => data.labels[data.label[p]].name, ...data.scores.map((values) => (p) => values[p])];
const compare = (a, b) => a === b ? 0 : a === null ? 1 : b === null ? -1 : typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });

function header(text, column, right, sort) {
  const button = make("button", { type: "button" }, text);
  const cell = make("th", { scope: "col", class: right ? "right" : "" }, button);
  button.addEventListener("click", () => sort(column));
  return cell;
}
const head = make("tr");
["Key", "Label", ...data.scores.map((values, axis) => "PC" + (axis + 1))].forEach((text, column) => head.append(header(text, column, column > 1, sortPoints)));
const body = make("tbody");
table.append(make("thead", {}, head), body);
function mark(cells, column) {
  [...cells].forEach((cell, index) => { if (index === column) cell.setAttribute("aria-sort", descending ? "descending" : "ascending"); else cell.removeAttribute("aria-sort"); });
}
function sortPoints(column) {
  descending = column === sortColumn && !descending;
  sortColumn = column; first = 0;
  mark(head.children, column);
  fill();
}
function fill() {
  const wanted = search.value.trim().toLowerCase();
  const found = [];
  for (let p = 0; p < total; p++) {
    if (shown(p) && (data.keys[p].toLowerCase().includes(wanted) || labelName(data.label[p]).toLowerCase().includes(wanted))) found.push(p);
  }
  if (sortColumn >= 0) found.sort((a, b) => (descending ? -1 : 1) * compare(columnValue[sortColumn](a), columnValue[sortColumn](b)));
  first = clamp(first, 0, Math.max(0, Math.floor((found.length - 1) / PAGE) * PAGE));
  body.replaceChildren(...found.slice(first, first + PAGE).map((p) => {
    const button = make("button", { type: "button", class: "plain" }, visible(data.keys[p]));
    button.addEventListener("click", () => show(p));
    const row = make("tr", {}, make("th", { scope: "row", class: "key" }, button), make("td", {}, labelNode(data.label[p])));
    for (let axis = 0; axis < components; axis++) row.append(make("td", { class: "right" }, score(data.scores[axis][p])));
    return row;
  }));
  byId("points-count").textContent = found.length ? `${number.format(first + 1)}–${number.format(Math.min(first + PAGE, found.length))} of ${number.format(found.length)}` : "none found";
  byId("points-before").disabled = first === 0;
  byId("points-after").disabled = first + PAGE >= found.length;
}
const details = byId("points");
const refill = () => { if (details.open) fill(); };
details.addEventListener("toggle", refill);
search.addEventListener("input", () => { first = 0; refill(); });
byId("points-before").addEventListener("click", () => { first -= PAGE; fill(); });
byId("points-after").addEventListener("click", () => { first += PAGE; fill(); });
listeners.push(refill);
if (location.hash === "#points") details.open = true;
document.querySelector('a[href="#points"]').addEventListener("click", () => { details.open = true; });

for (const sortable of document.querySelectorAll("table.sortable")) {
  const cells = sortable.tHead.rows[0].cells;
  [...cells].forEach((cell, column) => cell.replaceWith(header(cell.textContent, column, cell.classList.contains("right"), sort)));
  let last = -1, down = false;
  function sort(column) {
    down = column === last && !down; last = column;
    [...cells].forEach((cell, index) => { if (index === column) cell.setAttribute("aria-sort", down ? "descending" : "ascending"); else cell.removeAttribute("aria-sort"); });
    const value = (row) => { const cell = row.cells[column]; return "value" in cell.dataset ? (cell.dataset.value === "" ? null : Number(cell.dataset.value)) : cell.textContent; };
    sortable.tBodies[0].append(...[...sortable.tBodies[0].rows].sort((a, b) => (down ? -1 : 1) * compare(value(a), value(b))));
  }
}
for (const button of document.querySelectorAll("button[data-more]")) {
  button.addEventListener("click", () => {
    const opened = document.querySelector(button.dataset.more).classList.toggle("open");
    button.setAttribute("aria-expanded", String(opened));
    if (!button.dataset.closed) button.dataset.closed = button.textContent;
    button.textContent = opened ? "Show fewer" : button.dataset.closed;
  });
}
