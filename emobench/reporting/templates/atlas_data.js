// The page's data: codes in base64 become typed arrays when they are first needed. See emobench/reporting/packing.py.
const data = JSON.parse(document.getElementById("data").textContent);
const none = "–";

function codesOf({ bits, length, codes }) {
  const text = atob(codes);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  if (bits >= 8) return new { 8: Uint8Array, 16: Uint16Array, 32: Uint32Array }[bits](bytes.buffer);
  const found = new Uint8Array(length);
  for (let bit = 0; bit < length * bits; bit++) found[Math.floor(bit / bits)] |= ((bytes[bit >> 3] >> (bit & 7)) & 1) << bit % bits;
  return found;
}

function numbersOf(column) {
  const { bits, values, low, step } = column;
  const missing = 2 ** bits - 1;
  return Float64Array.from(codesOf(column), (code) => (values ? values[code] ?? NaN : code === missing ? NaN : low + step * code));
}

const layerOf = codesOf(data.layer).map((code) => data.layer.values[code]);
const unitOf = codesOf(data.unit);
const count = unitOf.length;
const keys = Array.from(unitOf, (unit, at) => `${data.layers[layerOf[at]]}/${unit}`);
const placeOf = new Map(keys.map((key, at) => [key, at]));
const shared = Object.fromEntries(Object.entries(data.shared).map(([key, column]) => [key, numbersOf(column)]));
const views = new Map();

/** What is shown of one concept set: numbers by column, words and their codes, and what passes the filters. */
function viewOf(name) {
  const set = data.sets.find((one) => one.name === name) ?? data.sets[0];
  if (views.has(set.name)) return views.get(set.name);
  const columns = { ...shared };
  for (const [key, column] of Object.entries(set.columns)) columns[key] = numbersOf(column);
  const words = {};
  for (const [key, column] of Object.entries(set.words)) words[key] = { values: column.values, codes: codesOf(column) };
  const view = { name: set.name, columns, words, significant: set.significant && numbersOf(set.significant), set };
  views.set(set.name, view);
  return view;
}

const wordOf = (view, key, at) => view.words[key].values[view.words[key].codes[at]];

/** The descriptions of a concept set's units, with how many have each. */
function descriptionOptions(view) {
  const { values, codes } = view.words.description;
  const counts = new Uint32Array(values.length);
  for (const code of codes) counts[code] += 1;
  return values.map((word, code) => new Option(`${word} (${grouped.format(counts[code])})`, word));
}

/** The similarity of a unit to every concept of a set, best first: [concept, number]. */
function similaritiesOf(view, at) {
  const profile = view.set.profile;
  if (!profile) return [];
  profile.read ??= { codes: codesOf(profile), spread: numbersOf(profile.spread) };
  const { codes, spread } = profile.read;
  const width = profile.concepts.length;
  const best = view.columns.similarity[at];
  const pairs = profile.concepts.map((concept, number) => {
    const code = codes[at * width + number];
    return [concept, code === 255 ? NaN : best - spread[at] * (code / 254) ** 2];
  });
  return pairs.sort((one, other) => compare(other[1], one[1], -1));
}

/** Order of two numbers; NaN comes last whichever way (sign) is sorted. */
function compare(one, other, sign) {
  if (Number.isNaN(one) || Number.isNaN(other)) return (Number.isNaN(one) - Number.isNaN(other)) * sign;
  return one - other;
}

/** The units that pass every filter, as a list of places. */
function passing(view, state) {
  const { values, codes } = view.words.description;
  const text = state.text.trim().toLowerCase();
  const exact = placeOf.get(text);
  const words = values.map((word) => (!state.description || word === state.description) && (!state.emotion || data.speaks[word].includes(state.emotion)));
  const named = values.map((word) => word.includes(text));
  const layer = data.layers.indexOf(state.layer);
  const found = [];
  for (let at = 0; at < count; at++) {
    if (layer >= 0 && layerOf[at] !== layer) continue;
    if (!words[codes[at]]) continue;
    if (state.dead && (state.dead === "yes") !== (shared.dead[at] === 1)) continue;
    if (state.significant && view.significant && (state.significant === "yes") !== (view.significant[at] === 1)) continue;
    if (exact !== undefined ? at !== exact : text && !named[codes[at]] && !keys[at].startsWith(text) && String(unitOf[at]) !== text) continue;
    found.push(at);
  }
  return found;
}

/** Sorts places by a column; equal ones stay in the network's order. */
function sorted(view, places, state) {
  const key = state.sort.replace(/^-/, ""), sign = state.sort.startsWith("-") ? -1 : 1;
  if (key === "unit") return sign < 0 ? places.reverse() : places;
  const values = view.words[key]?.codes ?? view.columns[key];
  return values ? places.sort((one, other) => sign * compare(values[one], values[other], sign) || one - other) : places;
}

const grouped = new Intl.NumberFormat("en-GB");
const minus = (text) => text.replace("-", "−");

/** A number with its sign, none where it rounds to zero. */
function signed(value, digits) {
  const text = Math.abs(value).toFixed(digits);
  return (Number(text) === 0 ? "" : value < 0 ? "−" : "+") + text;
}

const forms = {
  share: (value) => `${Math.round(100 * value)}%`,
  points: (value) => signed(100 * value, 2),
  5: (value) => signed(value, 5),
  2: (value) => minus(value.toFixed(2)),
  flag: (value) => (value ? "yes" : "no"),
  p: (value) => (value < 0.001 ? "<0.001" : value.toFixed(3)),
};

/** A number as the column's form writes it. */
const shown = (value, form) => (Number.isNaN(value) ? none : forms[form](value));

/** An element with attributes and children. */
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
