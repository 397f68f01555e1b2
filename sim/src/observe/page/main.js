// Wires it up: choosing, keys, scrolling, search, the address.

let pending = false;
function redraw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => { pending = false; draw(); });
}

function refresh() {
  arrange();
  reveal();
  redraw();
}

/** Scrolls so that the chosen event is in the picture. */
function reveal() {
  if (look.chosen < 0) return;
  const y = yOf(look.chosen), height = view.clientHeight - HEAD;
  if (y < view.scrollTop + 30 || y > view.scrollTop + height - 50) view.scrollTop = y - height * 0.6;
}

function choose(at) {
  at = Math.max(0, Math.min(events.length - 1, at));
  if (!events.length || at === look.chosen) return;
  look.chosen = at;
  if (rowOf[at] === undefined || rowOf[at] < 0) arrange();
  $("scrubber").value = at;
  $("where").textContent = `${at + 1} of ${events.length}`;
  try { history.replaceState(null, "", "#e=" + at); } catch (_) { /* the address stays */ }
  showEvent();
  showStates();
  if (isLive) showForks();
  reveal();
  redraw();
}

/** The next event in the picture, so many on. */
function step(by) {
  const row = rowOf[look.chosen];
  const next = shown[Math.max(0, Math.min(shown.length - 1, (row < 0 ? 0 : row) + by))];
  if (next) choose(next.at);
}

function search() {
  const text = $("search").value, hits = find(text);
  look.hits = new Set(hits);
  $("hits").textContent = text.trim() ? (hits.length ? `${hits.length} found` : "none found") : "";
  redraw();
}

function nextHit(by) {
  const hits = [...look.hits].sort((a, b) => a - b);
  if (!hits.length) return;
  const next = by > 0 ? hits.find((at) => at > look.chosen) ?? hits[0] : hits.findLast((at) => at < look.chosen) ?? hits[hits.length - 1];
  choose(next);
  $("hits").textContent = `${hits.indexOf(next) + 1} of ${hits.length}`;
}

function zoom(by) {
  const middle = look.chosen >= 0 ? yOf(look.chosen) - view.scrollTop : 0, most = look.byTime ? 20000 : 2.5;
  look.zoom = Math.max(look.byTime ? 1 : 0.02, Math.min(most, look.zoom * by));
  measure();
  if (look.chosen >= 0) view.scrollTop = yOf(look.chosen) - middle;
  redraw();
}

function fit() {
  const room = view.clientHeight - HEAD - FOOT;
  look.zoom = look.byTime ? 1 : Math.min(1, room / (shown.length * ROW));
  refresh();
}

function recolor() { readColors(); showLegend(); redraw(); }

function toggle(id, on) { $(id).setAttribute("aria-pressed", String(on)); }

function setMode(byTime) {
  look.byTime = byTime;
  look.zoom = 1;
  toggle("mode-button", byTime);
  refresh();
}

const ACTIONS = {
  ArrowDown: () => step(1), j: () => step(1), ArrowUp: () => step(-1), k: () => step(-1),
  ArrowRight: () => after[look.chosen] >= 0 && choose(after[look.chosen]),
  ArrowLeft: () => before[look.chosen] >= 0 && choose(before[look.chosen]),
  PageDown: () => step(15), PageUp: () => step(-15),
  Home: () => shown.length && choose(shown[0].at), End: () => shown.length && choose(shown[shown.length - 1].at),
  v: () => blame && choose(blame.at), "/": () => $("search").focus(),
  "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), f: fit, t: () => setMode(!look.byTime),
  p: () => { look.past = !look.past; toggle("past-button", look.past); redraw(); },
  o: () => { look.only = !look.only; toggle("only-button", look.only); refresh(); },
  "?": showKeys, Escape: () => showTour(-1), Enter: () => nextHit(1),
};

document.addEventListener("keydown", (press) => {
  const typing = press.target.id === "search";
  if (typing && press.key === "Enter") { nextHit(press.shiftKey ? -1 : 1); press.preventDefault(); return; }
  if (typing && press.key === "Escape") { view.focus(); return; }
  if (typing && !["ArrowDown", "ArrowUp"].includes(press.key)) return;
  if (press.ctrlKey || press.metaKey || press.altKey || $("keys").open) return;
  if (press.target.matches("button, summary, input[type=checkbox]") && ["Enter", " "].includes(press.key)) return;
  const action = ACTIONS[press.key];
  if (!action) return;
  press.preventDefault();
  action();
});

view.addEventListener("scroll", redraw, { passive: true });
view.addEventListener("click", (click) => {
  const box = view.getBoundingClientRect();
  if (click.clientY - box.top > HEAD) choose(eventAt(click.clientX - box.left, click.clientY - box.top));
  view.focus({ preventScroll: true });
});
view.addEventListener("wheel", (wheel) => {
  if (!wheel.ctrlKey) return;
  wheel.preventDefault();
  zoom(wheel.deltaY < 0 ? 1.2 : 1 / 1.2);
}, { passive: false });

$("scrubber").max = Math.max(0, events.length - 1);
$("scrubber").addEventListener("input", (input) => choose(Number(input.target.value)));
$("search").addEventListener("input", search);
const clicks = {
  prev: () => step(-1), next: () => step(1), "mode-button": ACTIONS.t, "zoom-in": ACTIONS["+"], "zoom-out": ACTIONS["-"],
  "fit-button": fit, "past-button": ACTIONS.p, "only-button": ACTIONS.o, "help-button": showKeys, "tour-button": () => showTour(0),
  "theme-button": () => {
    const root = document.documentElement, next = { undefined: "dark", dark: "light" }[root.dataset.theme];
    if (next) root.dataset.theme = next; else delete root.dataset.theme;
    recolor();
  },
};
for (const [id, action] of Object.entries(clicks)) $(id).addEventListener("click", action);
for (const id of ["past-button", "only-button"]) $(id).hidden = !blame;

const named = () => { const found = location.hash.match(/^#e=(\d+)$/); return found ? Number(found[1]) : -1; };
window.addEventListener("hashchange", () => named() >= 0 && choose(named()));
window.addEventListener("resize", () => { measure(); redraw(); });
window.addEventListener("beforeprint", fillPrintList);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolor);

readColors();
showVerdict();
showFilters();
showLegend();
arrange();
choose(named() >= 0 ? named() : blame ? blame.at : 0);
view.focus({ preventScroll: true });
draw();
document.documentElement.dataset.ready = Math.round(performance.now() - began);
