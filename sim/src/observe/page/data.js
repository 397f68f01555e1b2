"use strict";
// What the page shows: events, what was carried between them, states at any event, search.

const began = performance.now();
const run = JSON.parse(document.getElementById("story").textContent);
const { lanes, events, carriages, bands, blame } = run;
const past = new Set(blame ? blame.past : []);
const missing = new Set(blame ? blame.missing : []);
const broken = new Set(blame ? blame.broken : []);
const guilty = new Set(blame ? blame.bands : []);
const why = run.why || null;
const decided = new Set(why ? [why.at] : []);
const isLive = typeof run.live === "number";
const weightOf = new Map(why ? why.weights : []);

/** Which kinds are filtered together. */
const GROUPS = {
  requests: ["asked", "answered", "takes", "replies"],
  watches: ["told"],
  messages: ["sent", "received"],
  writes: ["applied"],
  steps: ["event", "refused", "acted"],
  connections: ["stream"],
  faults: ["strikes", "ends", "started", "died"],
};
const groupOf = {};
for (const [group, kinds] of Object.entries(GROUPS)) for (const kind of kinds) groupOf[kind] = group;

events.forEach((event, at) => {
  event.at = at;
  event.group = groupOf[event.k] || "";
  event.lane = event.l < 0 ? "" : lanes[event.l].name;
  event.say = (event.lane ? event.lane + " " : "") + event.x;
  event.low = event.say.toLowerCase();
});

/** For each event the one before it in its lane, and the one after. */
const before = new Array(events.length).fill(-1);
const after = new Array(events.length).fill(-1);
{
  const last = {};
  for (const event of events) {
    if (event.l < 0) continue;
    if (last[event.l] !== undefined) {
      before[event.at] = last[event.l];
      after[last[event.l]] = event.at;
    }
    last[event.l] = event.at;
  }
}

/** What an event's carriage does here: leaves, or comes in. */
const carriageOf = (event) => (event.c === undefined ? null : carriages[event.c]);
const leaves = (event) => { const it = carriageOf(event); return it && it.s === event.at ? it : null; };
const comesIn = (event) => { const it = carriageOf(event); return it && it.a.includes(event.at) ? it : null; };

const seconds = (t) => (t / 1e6).toFixed(6).replace(/000$/, "") + " s";
const laneName = (lane) => (lane < 0 ? "outside" : lanes[lane].name);

/** Every lane's state after an event: fields by name. */
function statesAt(at) {
  const states = lanes.map(() => ({ fields: new Map(), down: false, seen: false }));
  for (let n = 0; n <= at; n++) {
    const event = events[n];
    if (event.l < 0) continue;
    const state = states[event.l];
    if (event.k === "died") { state.fields.clear(); state.down = true; }
    if (event.k === "started") { state.fields.clear(); state.down = false; state.seen = true; }
    if (event.d) for (const [name, value] of Object.entries(event.d)) {
      if (value === "" && name.startsWith("store ")) state.fields.delete(name); else state.fields.set(name, value);
    }
  }
  return states;
}

/** One word of a search: a text, or `A->B` for what goes from A to B. */
function wordOf(word) {
  const way = word.match(/^([a-z]\w*|\*)->([a-z]\w*|\*)$/);
  if (!way) return (event) => event.low.includes(word);
  const is = (name, lane) => name === "*" || laneName(lane).toLowerCase() === name;
  return (event) => { const it = leaves(event) || comesIn(event); return it && is(way[1], it.f) && is(way[2], it.t); };
}

/** A part of a search: all its words. */
function partOf(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean).map(wordOf);
  return (event) => words.length > 0 && words.every((is) => is(event));
}

/** The events that a search finds. `X then Y`: X with a Y later. `X then not Y`: X with no Y later. */
function find(text) {
  if (!text.trim()) return [];
  const [first, second] = text.split(/\s+then\s+/i);
  const isFirst = partOf(first);
  const found = events.filter(isFirst);
  if (second === undefined) return found.map((event) => event.at);
  const negated = /^not\s+/i.test(second);
  const isSecond = partOf(second.replace(/^not\s+/i, ""));
  let last = -1;
  for (const event of events) if (isSecond(event)) last = event.at;
  return found.filter((event) => (last > event.at) !== negated).map((event) => event.at);
}
