// A page that `explore` serves: forks, in which something else happens from the chosen event on.

/** Calls a verb of the API. What it refuses is thrown, in its own words. */
async function call(verb, body) {
  const response = await fetch("api/" + verb, { method: "POST", body: JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

const say = (text) => { $("live-says").textContent = text; };

async function fork(change) {
  try {
    const state = await call("fork", { branch: run.live, event: look.chosen, ...change });
    location.assign(`?branch=${state.branch}#e=${state.event}`);
  } catch (problem) { say(problem.message); }
}

async function save() {
  try {
    await call("go", { branch: run.live, event: Math.max(0, look.chosen) });
    const saved = await call("save", { file: $("live-file").value });
    say(`${saved.file} holds ${saved.fingerprint}`);
  } catch (problem) { say(problem.message); }
}

/** Branches as a tree: each below the one that it was forked from. */
async function showBranches() {
  const branches = await (await fetch("api/branches")).json();
  const below = (parent) => {
    const forks = branches.filter((it) => it.parent === parent);
    return forks.length ? [make("ul", {}, ...forks.map((it) => make("li", { class: it.branch === run.live ? "here" : "" },
      make("a", { href: `?branch=${it.branch}` + (it.event === null ? "" : `#e=${it.event}`) },
        it.change ? `${it.branch}: at event ${it.event}, ${it.change}` : "the run as it was"),
      make("span", { class: it.violation ? "sign" : "fine" }, it.violation || "no promise is broken"), ...below(it.branch)))) ] : [];
  };
  $("live-branches").replaceChildren(...below(null));
}

/** What "run to" can look for, by the kinds of events that end it. */
const STOPS = {
  write: ["applied"], delivery: ["received"], fault: ["strikes", "ends"], violation: ["violation"],
};

/** To the next event of these kinds behind the chosen one, or to the end. */
function runTo(kinds) {
  const next = events.find((event) => event.at > look.chosen && kinds.includes(event.k));
  choose(next ? next.at : events.length - 1);
}

/** Which changes can be made at the chosen event. */
function showForks() {
  const event = events[look.chosen], carriage = carriageOf(event), replicas = lanes.filter((lane) => lane.replica).map((lane) => lane.name);
  const isMessage = carriage && !isOfClient(carriage);
  const number = (id, value) => make("input", { id, type: "number", min: "0", value, size: "6" });
  const choice = (id, names, chosen) => {
    const list = make("select", { id }, ...names.map((name) => make("option", {}, name)));
    list.value = chosen;
    return list;
  };
  const micros = (id) => Math.round(Number($(id).value) * 1000);
  const cut = (hold) => ({ do: "cut", a: $("fork-a").value, b: $("fork-b").value, hold, span: micros("fork-span") });
  const button = (id, text, change) => make("button", { id, onclick: () => fork(change()) }, text);
  const here = event.l >= 0 && lanes[event.l].replica ? event.lane : replicas[0];
  const other = replicas.find((name) => name !== here) || here;
  const rows = [
    isMessage ? make("div", {}, button("fork-drop", "Lose this message", () => ({ do: "drop" })),
      button("fork-delay", "Delay it", () => ({ do: "delay", by: micros("fork-by") })), number("fork-by", "100"), " ms") : null,
    make("div", {}, choice("fork-a", replicas, here), " ", choice("fork-b", replicas, other), " for ", number("fork-span", "500"), " ms "),
    make("div", {}, button("fork-cut", "Cut their links", () => cut(false)), button("fork-hold", "Hold their messages back", () => cut(true))),
    make("div", {},
      button("fork-crash", "Crash the first", () => ({ do: "crash", replica: $("fork-a").value, span: micros("fork-span") })),
      button("fork-pause", "Pause it", () => ({ do: "pause", replica: $("fork-a").value, span: micros("fork-span") }))),
    ...bands.filter((band) => band.f <= look.chosen && (band.t === null || band.t > look.chosen)).map((band) =>
      make("div", {}, button(`fork-heal-${band.i}`, `End fault${band.i}`, () => ({ do: "heal", fault: band.i })), " ", band.x)),
    make("div", {}, choice("fork-act", ["get", "put", "delete"], "get"), " k", number("fork-key", "0"), " by c", number("fork-client", "0"), " ",
      button("fork-request", "Send it to the first", () => ({ do: "request", act: $("fork-act").value, key: Number($("fork-key").value),
        client: Number($("fork-client").value), replica: $("fork-a").value }))),
  ];
  $("forks").replaceChildren(make("h3", {}, "What if, from here on"), ...rows.filter(Boolean));
}

if (isLive) {
  const stops = Object.entries(STOPS).map(([name, kinds]) => make("button", { id: `run-${name}`, onclick: () => runTo(kinds) }, name));
  $("panel").prepend(make("section", { id: "run-to", "aria-label": "Run to" }, "Run to the next ", ...stops));
  $("panel").insertBefore(make("section", { id: "forks", "aria-label": "Forks" }), $("states"));
  $("panel").append(make("section", { id: "branches" }, make("h3", {}, "Branches"), make("div", { id: "live-branches" }),
    make("input", { id: "live-file", value: "branch.json", "aria-label": "File" }), make("button", { id: "live-save", onclick: save }, "Save this branch"),
    make("p", { id: "live-says", role: "status" })));
  showBranches();
}
