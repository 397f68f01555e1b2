// What stands beside the picture: the verdict, the chosen event, states, filters, the tour.

const $ = (id) => document.getElementById(id);
const make = (name, more = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(more)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value); else if (value !== null) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
};

/** What a star marks: not every promise is broken by what is missing. */
const STAR = !blame || blame.lacks ? "the write that should have been there" : "a write that the verdict names";

function showVerdict() {
  const head = blame
    ? make("h1", {}, make("span", { class: "sign" }, run.sign), make("small", {}, [run.title, run.subject, run.seed === undefined ? "" : `seed ${run.seed}`].filter(Boolean).join(" · ")))
    : make("h1", {}, make("span", { class: "fine" }, "No promise is broken"), make("small", {}, `${run.title} · ${run.subject}`));
  const say = blame ? blame.say.map((sentence) => make("p", {}, sentence)) : [];
  const more = make("p", { class: "more" }, run.about ? run.about + " " : "", ...(run.replay ? ["Again: ", make("code", {}, run.replay)] : []));
  const rule = run.promise ? make("p", { class: "more", id: "promise" }, `The promise is INV-${run.promise} of docs/protocol.md, which names the rules that it tests.`) : null;
  const left = run.hidden ? make("p", { class: "more", id: "left-out" }, `${run.hidden} idle ${run.hidden === 1 ? "event is" : "events are"} left out; `,
    make("code", {}, "--idle"), " shows them", ...(run.whole ? [": ", make("code", {}, run.whole)] : ["."])) : null;
  $("verdict").replaceChildren(...[head, ...say, why ? showWhy() : null, rule, more, left].filter(Boolean));
}

/** What counterfactuals say: sentences, the step that decided it, and how many futures fail from each cut on. */
function showWhy() {
  const rest = why.say.filter((sentence) => !blame.say.includes(sentence)).map((sentence) => make("li", {}, sentence));
  const bars = why.cuts.map(([at, failed, of]) => {
    const text = `${seconds(events[at].t)}: ${failed} of ${of} futures fail`;
    const bar = make("button", { class: "cut", title: text, "aria-label": text, onclick: () => choose(at) });
    bar.style.setProperty("--share", `${Math.round((100 * failed) / of)}%`);
    return bar;
  });
  return make("details", { id: "why", open: innerWidth > 800 ? "" : null, ontoggle: () => { measure(); reveal(); redraw(); } }, make("summary", {}, "Why: what decided it, and what it rests on"),
    make("ol", {}, ...rest), make("p", {}, jump(why.at, "◆ to the step that decided it")),
    make("div", { id: "cuts", role: "group", "aria-label": "How many futures fail, from each moment on" }, ...bars));
}

const jump = (at, text) => make("button", { onclick: () => choose(at), "data-event": at }, text);

function showEvent() {
  const at = look.chosen, event = events[at];
  if (!event) return;
  const badge = (name, text) => make("span", { class: "badge " + name }, text);
  const badges = make("div", {});
  if (missing.has(at)) badges.append(badge("missing", "★ " + STAR));
  if (broken.has(at)) badges.append(badge("broken", "⚡ here the chain broke"));
  if (why && why.at === at) badges.append(badge("named", "◆ this decided it"));
  if (weightOf.has(at)) badges.append(badge("weight", weightOf.get(at)));
  if (event.o && event.o !== "plain" && event.o !== "fault") badges.append(badge(event.o, event.o));
  const links = make("div", { class: "links" });
  const it = carriageOf(event), into = comesIn(event);
  if (into && into.s !== null) links.append(jump(into.s, `← ${laneName(into.f)} at ${seconds(events[into.s].t)}`));
  if (leaves(event)) for (const to of it.a) links.append(jump(to, `→ ${laneName(it.t)} at ${seconds(events[to].t)}`));
  if (before[at] >= 0) links.append(jump(before[at], `↑ before in ${event.lane}`));
  if (after[at] >= 0) links.append(jump(after[at], `↓ after in ${event.lane}`));
  const open = leaves(event) && it.u ? make("p", { class: "at" }, "It was on its way when the run ended.") : null;
  const fate = leaves(event) && it.l ? make("p", { class: "at" }, `${it.a.length ? "Once, " : "Never arrives: "}${it.l}.`) : null;
  const held = leaves(event) && it.h ? make("p", { class: "at" }, "A cut holds it back for a while.") : null;
  const content = !it || !it.x ? null : isOfClient(it) ? make("p", { class: "at", id: "answer" }, `${it.n === "part" ? "It is told" : "The answer"}: ${it.x}.`)
    : make("details", {}, make("summary", {}, "All of the message"), make("code", { class: "content" }, it.x));
  $("event").replaceChildren(
    make("div", { class: "at" }, `event ${at} · ${seconds(event.t)} · ${event.lane || "outside"}`),
    make("h2", {}, event.say), badges, ...[fate, held, open].filter(Boolean), ...[links, showChanges(event), content].filter(Boolean));
}

/** What the chosen event changed, with what was there before. */
function showChanges(event) {
  if (!event.d) {
    let first = event.at;
    while (first >= 0 && events[first].t === event.t && !events[first].d) first = before[first];
    const has = event.l >= 0 && first >= 0 && events[first].t === event.t;
    if (!has) return null;
    const all = showChanges(events[first]);
    all.firstChild.replaceChildren("The whole step, which begins at ", jump(first, `event ${first}`), ", changed");
    return all;
  }
  const old = event.at > 0 ? statesAt(event.at - 1)[event.l].fields : new Map();
  const rows = Object.entries(event.d).sort(([a], [b]) => rank(a) - rank(b)).map(([name, value]) => {
    const was = old.get(name);
    return make("tr", {}, make("th", {}, name),
      make("td", {}, was ? make("del", {}, was) : "", was ? " → " : "", make("ins", {}, value || "nothing")));
  });
  return make("div", {}, make("p", { class: "at" }, "What just changed"), make("table", { id: "changes" }, ...rows));
}

const FIELDS = ["incarnation", "serves", "store", "vector", "truly has", "token", "token that was sent", "token that came back", "truly knows", "view", "links", "causal buffer", "gaps", "requests waiting", "pull", "log", "trimmed", "trimmed deletes"];
const rank = (name) => FIELDS.indexOf(name.startsWith("store ") ? "store" : name);

function showStates() {
  const event = events[look.chosen], states = statesAt(look.chosen);
  const order = lanes.map((_, at) => at).sort((a, b) => (b === event.l) - (a === event.l));
  const sections = order.map((at) => {
    const { fields, down, seen } = states[at], lane = lanes[at], changed = event.l === at && event.d ? event.d : {};
    const head = make("h3", {}, lane.replica ? `replica ${lane.name}` : `client ${lane.name}`);
    const rows = [...fields].sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1)).map(([name, value]) =>
      make("tr", { class: name in changed ? "changed" : null }, make("th", {}, name), make("td", {}, value || "nothing")));
    let body = make("table", {}, ...rows);
    if (down) body = make("p", { class: "down" }, "no process runs");
    else if (!rows.length) body = make("p", { class: "down" }, lane.replica ? (seen ? "cannot be looked into" : "not started yet") : "knows nothing yet");
    return make("section", { class: event.l === at ? "here" : "", "data-lane": lane.name }, head, body);
  });
  $("states").replaceChildren(...sections);
}

function showFilters() {
  const check = (text, on, change) => {
    const box = make("input", { type: "checkbox", onchange: (e) => { change(e.target.checked); refresh(); } });
    box.checked = on;
    return make("label", {}, box, text);
  };
  const flip = (set, item) => (on) => (on ? set.add(item) : set.delete(item));
  const field = (name, ...items) => make("fieldset", {}, make("legend", {}, name), ...items);
  const keys = new Set(allKeys);
  $("filter-box").replaceChildren(
    field("Kinds", ...Object.keys(GROUPS).map((group) => check(group, true, flip(look.groups, group)))),
    field("Lanes", ...lanes.map((lane, at) => check(lane.name, look.lanes.has(at), flip(look.lanes, at)))),
    field("Keys", ...allKeys.map((key) => check(key, true, (on) => {
      flip(keys, key)(on);
      look.keys = keys.size === allKeys.length ? null : keys;
    }))),
    ...(events.some((event) => event.z) ? [field("Idle chatter", check("heartbeats and the like", look.idle, (on) => { look.idle = on; }))] : []),
    field("Fold into one lane", ...["replicas", "clients"].map((name) => check(name, false, flip(look.folded, name)))));
}

const LEGEND = [
  [{ k: "asked" }, "a client asks"], [{ k: "answered" }, "and gets its answer"], [{ k: "takes" }, "a replica takes a request"],
  [{ k: "replies" }, "and answers it"], [{ k: "told" }, "a watch is told"], [{ k: "applied" }, "a write is accepted or applied"],
  [{ k: "sent" }, "a message leaves or comes in"], [{ k: "sent", o: "lost" }, "it does not get through"],
  [{ k: "refused", o: "refused" }, "its receiver refuses it"], [{ k: "event" }, "another step of a replica"],
  [{ k: "started" }, "a process starts"], [{ k: "died", o: "fault" }, "it dies"], [{ k: "violation", o: "violation" }, "the promise is broken"],
];
const SIGNS = [
  ["★", STAR], ["⚡", "where it stopped"], ["◆", "the step that decided it"],
  ["▮", "a bar beside the lanes: a fault in force; a full one kept the write away"], ["┄", "a dashed arrow: held back; with a cross: lost"],
];

/** What the marks mean, each drawn as in the picture. */
function showLegend() {
  const scale = window.devicePixelRatio || 1;
  const rows = LEGEND.map(([event, text]) => {
    const paper = make("canvas", { width: 24 * scale, height: 22 * scale, "aria-hidden": "true" });
    const ink = paper.getContext("2d");
    ink.scale(scale, scale);
    sketch(ink, { ...event, group: groupOf[event.k] }, 12, 11);
    return make("li", {}, paper, text);
  });
  const signs = SIGNS.map(([sign, text]) => make("li", {}, make("span", { class: "sign" }, sign), text));
  $("legend-box").replaceChildren(make("ul", {}, ...rows, ...signs));
}

const KEYS = [
  ["↓ or j, ↑ or k", "next event, event before"], ["→, ←", "next and before in the same lane"],
  ["Home, End", "first, last"], ["v", "the violation"], ["Enter, Shift Enter", "next and previous hit of the search"],
  ["/", "search"], ["+ and -", "zoom"], ["f", "fit all of it"], ["t", "order of events or real time"],
  ["p", "light the causal past"], ["o", "show only the causal past"], ["? and Esc", "these keys"],
];
const FINDS = [
  ["put k0", "events with both words"], ["push A->B", "pushes that leave A for B, and arrive"],
  ["accepts then not applies", "events of the first kind with none of the second after them"],
];
function showKeys() {
  const table = (rows) => make("table", {}, ...rows.map(([key, text]) => make("tr", {}, make("td", {}, key), make("td", {}, text))));
  $("keys").replaceChildren(make("h2", {}, "Keys"), table(KEYS), make("h2", {}, "Search"), table(FINDS),
    make("form", { method: "dialog" }, make("button", {}, "Close")));
  $("keys").showModal();
}

const TOUR = [
  ["verdict", "What went wrong, in two sentences: first the answer that broke a promise, then what became of the write that it lacked."],
  ["view", "Time runs down. Each column is a replica (A, B) or a client (c0). Each row is an event; arrows are messages. A cross is a message that never arrives."],
  ["past-button", "Bright rows are what the broken answer rests on. ★ is a write that it names; ⚡ is where it stopped. This button dims or lights them."],
  ["scrubber", "Walk through the run: drag, or press ↓ and ↑. Press v to come back to the violation. The address of the page names the event, so you can send it."],
  ["panel", "Every replica's and client's state after the chosen event. What just changed is marked. “truly has” is what the simulator knows; “vector” is what the replica says."],
  ["search", "Find events: put k0, push A->B, accepts then not applies. Enter goes from hit to hit. The filter beside it hides kinds, lanes and keys."],
];
let tourAt = 0;
function showTour(step) {
  document.querySelectorAll(".lifted").forEach((element) => element.classList.remove("lifted"));
  const box = $("tour");
  tourAt = step;
  box.hidden = step < 0 || step >= TOUR.length;
  if (box.hidden) return;
  const [id, text] = TOUR[step], target = $(id);
  target.classList.add("lifted");
  box.replaceChildren(make("p", {}, text), make("div", { class: "row" },
    make("span", {}, `${step + 1} of ${TOUR.length}`),
    make("button", { onclick: () => showTour(-1) }, "End"),
    make("button", { id: "tour-next", onclick: () => showTour(step + 1) }, step + 1 < TOUR.length ? "Next" : "Done")));
  const place = target.getBoundingClientRect(), width = 300;
  const left = Math.max(8, Math.min(window.innerWidth - width - 8, place.left + 20));
  const below = place.bottom + 8 + box.offsetHeight < window.innerHeight;
  box.style.left = left + "px";
  box.style.top = (place.height > 200 ? place.top + 60 : below ? place.bottom + 8 : place.top - box.offsetHeight - 8) + "px";
  $("tour-next").focus();
}

/** For print: the events as a list, the causal past in bold. */
function fillPrintList() {
  const most = 400, some = shown.length > most && past.size ? shown.filter((event) => past.has(event.at)) : shown;
  $("print-list").replaceChildren(...some.slice(0, most).map((event) =>
    make("li", { class: past.has(event.at) ? "lit" : "", value: event.at }, `${seconds(event.t)}  ${event.say}`)));
}
