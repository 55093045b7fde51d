// The table: filters, order, rows drawn as they are seen, keyboard, and the address that keeps all of it.
const $ = (selector) => document.querySelector(selector);
const form = $("#filters"), scroller = $("#scroller"), body = $("#scroller tbody"), wide = matchMedia("(min-width: 62rem)");
const defaults = { set: data.sets[0].name, layer: "", description: "", emotion: "", significant: "", dead: "", text: "", sort: `-${data.first}`, unit: "" };
const heads = [{ key: "unit", head: "unit", words: true }, { key: "description", head: "description", words: true }, ...data.columns];
heads.splice(2 + 1 + data.columns.findIndex((column) => column.key === "margin"), 0, { key: "runner_up", head: "runner-up", words: true });
const PRINTED = 200, SPARE = 8;
const above = make("tr", { "aria-hidden": "true", class: "space" }), below = above.cloneNode();
const drawn = new Map();
let state = { ...defaults }, order = [], current = 0, rowHeight = 34, printing = false;

/** A row with empty cells; `fill` says what stands in them. */
function newRow(place) {
  const row = make("tr", { "aria-rowindex": place + 2, "data-place": place });
  for (const { key, words } of heads) {
    const cell = key === "unit" ? make("th", { scope: "row" }) : make("td", words ? { class: "word" } : {});
    cell.append("");
    row.append(cell);
  }
  return row;
}

/** Writes the unit of a place into its row: to change texts is quicker than to make rows anew. */
function fill(row, place, view) {
  const at = order[place];
  row.tabIndex = place === current ? 0 : -1;
  row.className = shared.dead[at] ? "dead" : "";
  if (keys[at] === state.unit) row.setAttribute("aria-selected", "true");
  else row.removeAttribute("aria-selected");
  heads.forEach(({ key, words, form }, column) => {
    const text = key === "unit" ? keys[at] : words ? wordOf(view, key, at) || none : shown(view.columns[key]?.[at] ?? NaN, form);
    const cell = row.cells[column].firstChild;
    if (cell.data !== text) cell.data = text;
  });
  return row;
}

/** Draws the rows in sight and a few more, and takes away the others. */
function draw() {
  const view = viewOf(state.set);
  const seen = Math.ceil(scroller.clientHeight / rowHeight);
  const top = Math.floor(scroller.scrollTop / rowHeight);
  const first = printing ? 0 : Math.max(0, Math.min(top - SPARE, order.length - seen));
  const last = Math.min(order.length, printing ? PRINTED : top + seen + SPARE);
  let next = below;
  for (let place = last - 1; place >= first; place--) {
    if (!drawn.has(place)) {
      drawn.set(place, fill(newRow(place), place, view));
      body.insertBefore(drawn.get(place), next);
    }
    next = drawn.get(place);
  }
  above.style.height = `${printing ? 0 : first * rowHeight}px`;
  below.style.height = `${printing ? 0 : (order.length - last) * rowHeight}px`;
  // Only now: the browser lays out when a focused row goes, and a table too short would scroll.
  let lost = false;
  for (const [place, row] of drawn) {
    if (place >= first && place < last) continue;
    lost ||= row === document.activeElement;
    row.remove();
    drawn.delete(place);
  }
  if (lost) scroller.focus({ preventScroll: true });
}

function redraw() {
  const view = viewOf(state.set);
  for (const [place, row] of drawn) if (place < order.length) fill(row, place, view);
  draw();
}

/** Makes a row the current one, brings it into sight and, if asked for, focuses it. */
function move(place, focus = true) {
  current = Math.max(0, Math.min(order.length - 1, place));
  const head = $("#scroller thead").offsetHeight, room = scroller.clientHeight - head;
  const low = (current + 1) * rowHeight - room, high = current * rowHeight;
  if (scroller.scrollTop > high) scroller.scrollTop = high;
  if (scroller.scrollTop < low) scroller.scrollTop = low;
  draw();
  for (const [at, row] of drawn) row.tabIndex = at === current ? 0 : -1;
  if (focus) drawn.get(current)?.focus({ preventScroll: true });
}

function describeFilters() {
  const parts = [`${grouped.format(order.length)} of ${grouped.format(count)} units`];
  const open = Object.entries(state).filter(([key, value]) => value !== defaults[key] && !["sort", "unit"].includes(key));
  if (open.length) parts.push(open.map(([key, value]) => `${key}: ${value}`).join(", "));
  const sorting = heads.find((head) => head.key === state.sort.replace(/^-/, ""));
  parts.push(`sorted by ${sorting?.head ?? "unit"}${state.sort.startsWith("-") ? ", highest first" : ""}`);
  return parts.join("; ");
}

/** Brings form, table and panel to the state. */
function apply(before) {
  const view = viewOf(state.set);
  if (before?.set !== state.set) form.elements.description.replaceChildren(new Option("any", ""), ...descriptionOptions(view));
  for (const element of form.elements) {
    if (!element.name || element.value === state[element.name]) continue;
    element.value = state[element.name];
    // An address may ask for what isn't there: then nothing is chosen.
    if (element.selectedIndex < 0) element.value = state[element.name] = defaults[element.name];
  }
  const same = before && Object.keys(defaults).every((key) => key === "unit" || before[key] === state[key]);
  if (!same) {
    order = sorted(view, passing(view, state), state);
    current = 0;
    scroller.scrollTop = 0;
    $("#scroller table").setAttribute("aria-rowcount", order.length + 1);
    $("#none").hidden = order.length > 0;
    $("#status").textContent = `${grouped.format(order.length)} of ${grouped.format(count)} units`;
    for (const cell of $("#scroller thead tr").cells) {
      const sorts = cell.dataset.key === state.sort.replace(/^-/, "");
      cell.setAttribute("aria-sort", !sorts ? "none" : state.sort.startsWith("-") ? "descending" : "ascending");
    }
  }
  redraw();
  showPanel(view, before);
}

/** Opens the panel or opens it anew. The browser would bring it into sight: the page stays where it is. */
function openPanel(modal) {
  const top = scrollY;
  if (panel.open) panel.close();
  modal ? panel.showModal() : panel.show();
  scrollTo({ top, behavior: "instant" });
}

/** Opens or closes the panel as the state says: beside the table, or over it where there is no room. */
function showPanel(view, before) {
  const at = placeOf.get(state.unit);
  if (at === undefined) {
    if (panel.open) panel.close();
    return;
  }
  const place = order.indexOf(at);
  fillPanel(view, at);
  if (!panel.open) openPanel(!wide.matches);
  panel.scrollTop = 0;
  if (place >= 0) move(place, false);
  if (before && before.unit !== state.unit) $("#unit-name").focus({ preventScroll: wide.matches });
}

/** Changes the state, and the address with it: a new entry of the history, or in place of this one. */
function change(changes, replace = false) {
  const before = state;
  state = { ...state, ...changes };
  if ("set" in changes && !viewOf(state.set).words.description.values.includes(state.description)) state.description = "";
  const hash = new URLSearchParams(Object.entries(state).filter(([key, value]) => value !== defaults[key])).toString();
  const address = hash ? `#${hash.replaceAll("%2F", "/")}` : location.pathname + location.search;
  if (address !== (location.hash || location.pathname + location.search)) history[replace ? "replaceState" : "pushState"](null, "", address);
  apply(before);
}

function closeUnit() {
  const place = order.indexOf(placeOf.get(state.unit));
  change({ unit: "" });
  place >= 0 ? move(place) : scroller.focus();
}

function readAddress(before = state) {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  state = Object.fromEntries(Object.entries(defaults).map(([key, value]) => [key, given[key] ?? value]));
  state.set = viewOf(state.set).name;
  apply(before);
}

function start() {
  for (const name of data.layers) if (keys.some((key) => key.startsWith(`${name}/`))) form.elements.layer.append(new Option(name, name));
  for (const name of data.classes) form.elements.emotion.append(new Option(name, name));
  for (const { name } of data.sets) form.elements.set.append(new Option(name, name));
  if (!data.sets[0].significant) $("[data-needs=significant]").hidden = true;
  const columns = make("colgroup");
  for (const { key, head, words, meaning } of heads) {
    columns.append(make("col", { class: key === "unit" ? "unit" : words ? "word" : "number" }));
    const button = make("button", { type: "button", title: meaning ?? "" }, head);
    $("#scroller thead tr").append(make("th", { scope: "col", "data-key": key, class: words ? "word" : "" }, button));
  }
  $("#scroller table").prepend(columns);
  $("#scroller table").setAttribute("aria-colcount", heads.length);
  body.append(above, below);
  order = [0];
  draw();
  rowHeight = drawn.get(0).getBoundingClientRect().height || rowHeight;
  readAddress(null);
}

form.addEventListener("input", ({ target }) => change({ [target.name]: target.value }, target.name === "text"));
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", (event) => (event.preventDefault(), change({ ...defaults, sort: state.sort, unit: state.unit })));
$("[data-reset]").addEventListener("click", () => (form.reset(), form.elements.text.focus()));
$("[data-skip]").addEventListener("click", (event) => (event.preventDefault(), move(current)));
$("#scroller thead").addEventListener("click", ({ target }) => {
  const key = target.closest("th")?.dataset.key;
  if (!key) return;
  const words = heads.find((head) => head.key === key).words;
  const sorts = state.sort.replace(/^-/, "") === key;
  change({ sort: sorts === state.sort.startsWith("-") && (sorts || words) ? key : `-${key}` });
});
body.addEventListener("click", ({ target }) => {
  const row = target.closest("tr[data-place]");
  if (row && !getSelection().toString()) change({ unit: keys[order[row.dataset.place]] });
});
scroller.addEventListener("keydown", (event) => {
  if (event.target.closest("thead") || event.ctrlKey || event.altKey || event.metaKey) return;
  const page = Math.max(1, Math.floor(scroller.clientHeight / rowHeight) - 2);
  const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
  if (event.key in steps) move(current + steps[event.key]);
  else if (["Enter", " "].includes(event.key) && order.length) change({ unit: keys[order[current]] });
  else return;
  event.preventDefault();
});
let asked = false;
scroller.addEventListener("scroll", () => {
  if (!asked) requestAnimationFrame(() => (draw(), (asked = false)));
  asked = true;
});
panel.addEventListener("click", ({ target }) => {
  const go = target.dataset.go;
  if (!go) return;
  if (go === "close") return closeUnit();
  const place = order.indexOf(placeOf.get(state.unit));
  const unit = keys[order[Math.max(0, Math.min(order.length - 1, place + Number(go)))]];
  if (unit) change({ unit }, true);
  panel.querySelector(`[data-go="${go}"]`).focus();
});
panel.addEventListener("cancel", (event) => (event.preventDefault(), closeUnit()));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && panel.open && wide.matches && event.target.type !== "search") closeUnit();
});
wide.addEventListener("change", () => panel.open && !printing && openPanel(!wide.matches));
addEventListener("resize", draw);
addEventListener("popstate", () => readAddress());
addEventListener("beforeprint", () => {
  printing = true;
  if (panel.open) openPanel(false);
  const cut = order.length > PRINTED ? `, the first ${PRINTED} of them printed` : "";
  Object.assign($("#printed"), { hidden: false, textContent: `${describeFilters()}${cut}.` });
  draw();
});
addEventListener("afterprint", () => {
  printing = false;
  if (panel.open) openPanel(!wide.matches);
  $("#printed").hidden = true;
  draw();
});
start();
