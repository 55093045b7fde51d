// One unit: everything that is known of it, in the panel beside the table (on a phone: over it).
const panel = document.getElementById("unit");

/** A table of bars: rows [name, number, text]; bars start at zero, dots only mark a place between lowest and highest. */
function bars(caption, rows, { dots = false, line = null } = {}) {
  const finite = rows.map((row) => row[1]).filter(Number.isFinite);
  const low = Math.min(...finite, dots ? Infinity : 0);
  const high = Math.max(...finite, dots ? -Infinity : 0);
  const place = (value) => (high > low ? (100 * (value - low)) / (high - low) : 50);
  const body = make("tbody");
  for (const [name, value, text] of rows) {
    const track = make("div", { class: "track" });
    const zero = dots ? line : 0;
    if (zero !== null && zero >= low && zero <= high) track.append(make("i", { class: "zero", style: `left: ${place(zero)}%` }));
    if (Number.isFinite(value)) {
      const [from, to] = dots ? [place(value), place(value)] : [place(Math.min(value, 0)), place(Math.max(value, 0))];
      const kind = dots ? "dot" : value < 0 ? "bar below" : "bar";
      track.append(make("i", { class: kind, style: `left: ${from}%; width: ${to - from}%` }));
    }
    const row = make("tr", {}, make("th", { scope: "row" }, name), make("td", { "aria-hidden": "true" }, track));
    row.append(make("td", { class: "number" }, text));
    body.append(row);
  }
  return make("table", { class: "bars" }, make("caption", {}, caption), body);
}

/** The top images as one picture each, cut from the sheets beside the page. */
function topImages(at) {
  const images = data.images;
  if (!images) return [];
  images.read ??= { place: codesOf(images.place), labels: codesOf(images.labels) };
  const list = make("ul", { class: "images" });
  for (let rank = 0; rank < images.count; rank++) {
    const place = images.read.place[at * images.count + rank];
    const label = data.classes[images.labels.values[images.read.labels[place]]];
    const inside = place % images.per_sheet;
    const last = images.read.labels.length - (place - inside);
    const rows = Math.ceil(Math.min(images.per_sheet, last) / images.across);
    const x = (100 * (inside % images.across)) / (images.across - 1);
    const y = rows > 1 ? (100 * Math.floor(inside / images.across)) / (rows - 1) : 0;
    const file = images.files[(place - inside) / images.per_sheet];
    const style = `background: url("${file}") ${x}% ${y}% / ${100 * images.across}% ${100 * rows}%`;
    const alt = `Top image ${rank + 1} of ${keys[at]}, a face labelled ${label}`;
    list.append(make("li", {}, make("div", { role: "img", "aria-label": alt, style }), make("span", {}, label)));
  }
  return [make("h3", {}, "Top images"), list];
}

function facts(view, at) {
  const list = make("dl", { class: "facts" });
  for (const { key, head, form, meaning } of data.columns) {
    if (/^(clip|measured|delta)_/.test(key)) continue;
    const entry = make("div", { title: meaning }, make("dt", {}, head));
    entry.append(make("dd", {}, shown(view.columns[key]?.[at] ?? NaN, form)));
    list.append(entry);
  }
  return list;
}

/** The held-out scores as a table: a row a score, a column for CLIP and for what was measured. */
function evidence(view, at) {
  const scores = new Map();
  const sources = new Map();
  for (const { key, head } of data.columns) {
    const found = /^(clip|measured)_(.+)$/.exec(key);
    if (!found) continue;
    const [source, score] = head.split(": ");
    sources.set(found[1], source);
    scores.set(found[2], score);
  }
  if (!scores.size) return [];
  const head = make("tr", {}, make("th", { scope: "col", class: "word" }, "score"));
  for (const source of sources.values()) head.append(make("th", { scope: "col" }, source));
  const body = make("tbody");
  for (const [score, name] of scores) {
    const row = make("tr", {}, make("th", { scope: "row", class: "word" }, name));
    for (const source of sources.keys()) row.append(make("td", {}, shown(view.columns[`${source}_${score}`]?.[at] ?? NaN, "2")));
    body.append(row);
  }
  const note = `Activation against “${wordOf(view, "description", at)}” on images that were not used to find it.`;
  return [make("h3", {}, "Held-out evidence"), make("p", { class: "hint" }, note), make("table", {}, make("thead", {}, head), body)];
}

/** What happens to the network when the unit is scaled to 0, and how that compares within its layer. */
function effect(at) {
  const { delta_accuracy: accuracy, delta_nll: loss } = shared;
  if (!loss || Number.isNaN(loss[at])) return [];
  let layer = 0, smaller = 0;
  for (let other = 0; other < count; other++) {
    if (layerOf[other] !== layerOf[at] || Number.isNaN(loss[other]) || other === at) continue;
    layer += 1;
    smaller += Math.abs(loss[other]) < Math.abs(loss[at]);
  }
  const images = `${grouped.format(data.effect_images)} val images`;
  const change = accuracy ? `accuracy ${signed(100 * accuracy[at], 2)} points, ` : "";
  const rank = layer ? ` That moves the loss more than ${Math.floor((100 * smaller) / layer)}% of the layer's other units do.` : "";
  const text = `Without this unit, on ${images}: ${change}negative log-likelihood ${signed(loss[at], 5)}.${rank}`;
  return [make("h3", {}, "Scaled to 0"), make("p", {}, text)];
}

function activation(at) {
  if (!data.activation) return [];
  data.activation.read ??= numbersOf(data.activation);
  const width = data.classes.length;
  const rows = data.classes.map((name, number) => {
    const value = data.activation.read[at * width + number];
    return [name, value, Number.isNaN(value) ? none : signed(value, 2)];
  });
  const note = "Mean over val images of each class, in standard deviations of the unit.";
  return [make("h3", {}, "Activation by class"), bars(note, rows)];
}

function similarities(view, at) {
  const rows = similaritiesOf(view, at).map(([name, value]) => [name, value, shown(value, "2")]);
  if (!rows.length) return [];
  const note = `${view.name}, by ${data.function}. From τ = ${data.tau} on (line) the unit counts as interpretable.`;
  return [make("h3", {}, "Similarity to every concept"), bars(note, rows, { dots: true, line: data.tau })];
}

/** Fills the panel. */
function fillPanel(view, at) {
  const button = (name, label, text) => make("button", { type: "button", "data-go": name, "aria-label": label }, text);
  const head = make("div", { class: "head" }, make("h2", { id: "unit-name", tabindex: "-1" }, keys[at]));
  head.append(button("-1", "Previous unit", "↑"), button("1", "Next unit", "↓"), button("close", "Close", "×"));
  const classes = data.speaks[wordOf(view, "description", at)];
  const named = make("p", { class: "named" }, make("strong", {}, wordOf(view, "description", at)));
  if (classes.length && classes[0] !== wordOf(view, "description", at)) named.append(` speaks for ${classes.join(", ")}`);
  if (shared.dead[at]) named.append(make("span", { class: "dead" }, "dead"));
  const second = make("p", { class: "hint" }, `Runner-up: ${wordOf(view, "runner_up", at) || none}.`);
  for (const other of data.sets) {
    if (other.name === view.name) continue;
    second.append(` Of the ${other.name}: ${wordOf(viewOf(other.name), "description", at)}.`);
  }
  panel.replaceChildren(head, named, second, ...topImages(at), facts(view, at), ...activation(at), ...similarities(view, at));
  panel.append(...evidence(view, at), ...effect(at));
}
