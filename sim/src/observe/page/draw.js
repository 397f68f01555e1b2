// The picture: time runs down, lanes are columns, each event has a row with its words at the right.

const view = document.getElementById("view");
const canvas = document.getElementById("canvas");
const spacer = document.getElementById("spacer");
const pen = canvas.getContext("2d");

/** What is shown and how. */
const look = {
  chosen: -1, byTime: false, zoom: 1, past: !!blame, only: false, idle: true, folded: new Set(),
  groups: new Set(Object.keys(GROUPS)), keys: null, hits: new Set(), steps: 0,
};

// A client that does nothing has no column at first.
look.lanes = new Set(lanes.map((_, at) => at).filter((at) => lanes[at].replica || events.some((event) => event.l === at)));

const HEAD = 30, ROW = 22, FOOT = 40;
const narrow = () => view.clientWidth < 620;

let shown = [];      // events in the picture, in order
let rowOf = [];      // for each event its row, or -1
let columns = [];    // lanes or folded groups: { name, x, lanes }
let columnOf = [];   // for each lane its column
let gutter = [];     // for each band its column in the gutter
let gutterWidth = 0;
let textAt = 0;

/** Does the filter let an event through? */
function passes(event) {
  if (event.k === "violation" || event.at === look.chosen) return true;
  if (look.only && !past.has(event.at) && event.group !== "faults" && !broken.has(event.at)) return false;
  if (event.z && !look.idle) return false;
  if (event.group && !look.groups.has(event.group)) return false;
  if (event.l >= 0 && !look.lanes.has(event.l)) return false;
  if (look.keys && event.group !== "faults" && !(event.y || []).some((key) => look.keys.has(key))) {
    const it = carriageOf(event);
    const write = event.w || (it && it.w ? [it.w] : []);
    if (!write.some((name) => keyOfWrite[name] && look.keys.has(keyOfWrite[name]))) return false;
  }
  return true;
}

/** The key of each write, from the event that accepted it. */
const keyOfWrite = {};
{
  let key = {};
  for (const event of events) {
    if (event.k === "takes" && event.y) key[event.l] = event.y[0];
    if (event.x.startsWith("accepts ") && event.w) keyOfWrite[event.w[0]] = key[event.l];
  }
}
const allKeys = [...new Set(events.flatMap((event) => event.y || []))].sort();

function arrange() {
  shown = events.filter(passes);
  rowOf = new Array(events.length).fill(-1);
  shown.forEach((event, row) => { rowOf[event.at] = row; });
  columns = []; columnOf = new Array(lanes.length).fill(-1);
  for (const group of [true, false]) {
    const members = lanes.map((lane, at) => ({ ...lane, at })).filter((lane) => lane.replica === group && look.lanes.has(lane.at));
    const name = group ? "replicas" : "clients";
    if (look.folded.has(name) && members.length) columns.push({ name, lanes: members.map((lane) => lane.at), replica: group });
    else for (const lane of members) columns.push({ name: lane.name, lanes: [lane.at], replica: group });
  }
  columns.forEach((column, at) => column.lanes.forEach((lane) => { columnOf[lane] = at; }));
  const ends = [];
  gutter = bands.map((band) => {
    const end = band.t === null ? events.length : band.t;
    let at = ends.findIndex((other) => other <= band.f);
    if (at < 0) at = Math.min(ends.length, 5);
    ends[at] = Math.max(ends[at] || 0, end);
    return at;
  });
  measure();
}

function measure() {
  const width = view.clientWidth, timeWidth = narrow() ? 0 : 78;
  gutterWidth = bands.length ? (Math.max(...gutter) + 1) * 9 + 8 : 4;
  const room = width * (narrow() ? 0.38 : 0.5) - timeWidth - gutterWidth;
  const step = Math.max(narrow() ? 22 : 34, Math.min(96, room / Math.max(1, columns.length)));
  columns.forEach((column, at) => { column.x = timeWidth + gutterWidth + step * (at + 0.5); });
  columns.step = step;
  textAt = timeWidth + gutterWidth + step * columns.length + 10;
  spacer.style.height = Math.max(0, HEAD + length() + FOOT - view.clientHeight) + "px";
  const scale = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * scale), Math.round(view.clientHeight * scale)];
  if (canvas.width !== w || canvas.height !== h) {
    [canvas.width, canvas.height] = [w, h];
    canvas.style.width = width + "px";
    canvas.style.height = view.clientHeight + "px";
  }
}

const timeFrom = () => (shown.length ? shown[0].t : 0);
const timeSpan = () => (shown.length ? Math.max(1, shown[shown.length - 1].t - shown[0].t) : 1);
/** How long the picture is, in pixels. */
function length() {
  if (look.byTime) return Math.min(9e6, (view.clientHeight - HEAD - FOOT) * look.zoom);
  return shown.length * ROW * look.zoom;
}
/** Where an event lies in the picture. */
function yOf(at) {
  if (look.byTime) return ((events[at].t - timeFrom()) / timeSpan()) * (length() - 20) + 10;
  const row = rowOf[at];
  if (row >= 0) return (row + 0.5) * ROW * look.zoom;
  // Hidden: between its neighbours.
  let low = 0, high = shown.length;
  while (low < high) { const mid = (low + high) >> 1; if (shown[mid].at < at) low = mid + 1; else high = mid; }
  return low * ROW * look.zoom;
}
/** The first row whose event lies at or below this height. */
function rowAt(y) {
  let low = 0, high = shown.length;
  while (low < high) { const mid = (low + high) >> 1; if (yOf(shown[mid].at) < y) low = mid + 1; else high = mid; }
  return low;
}

const colors = {};
function readColors() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["back", "sheet", "line", "text", "faint", "accent", "chosen", "bad", "fault", "good", "changed"]) {
    colors[name] = style.getPropertyValue("--" + name).trim();
  }
  const dark = parseInt(colors.back.slice(1, 3), 16) < 100;
  // The palette of Okabe and Ito, which colour-blind people tell apart, lighter where the ground is dark.
  Object.assign(colors, dark
    ? { request: "#72b7f2", write: "#4fd0a5", other: "#8b95a5", key: "#e0a3c8" }
    : { request: "#0072b2", write: "#00795a", other: "#7b8494", key: "#a2457f" });
}

const isDim = (at) => look.past && past.size > 0 && !past.has(at) && !broken.has(at) && events[at].group !== "faults";
const isWriteName = (name) => /push|announce|supply|piece|write/.test(name);
const isOfClient = (it) => ["request", "answer", "part"].includes(it.n);
const carriageColor = (it) => isOfClient(it) ? colors.request : isWriteName(it.n) ? colors.write : colors.other;

function draw() {
  const scale = window.devicePixelRatio || 1, top = view.scrollTop, height = view.clientHeight, width = view.clientWidth;
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.fillStyle = colors.back;
  pen.fillRect(0, 0, width, height);
  pen.save();
  pen.beginPath(); pen.rect(0, HEAD, width, height - HEAD); pen.clip();
  pen.translate(0, HEAD - top);
  const from = Math.max(0, rowAt(top - 30) - 1), to = Math.min(shown.length, rowAt(top + height) + 1);
  drawChosen(width);
  drawGaps(top, top + height);
  drawBands(top, top + height);
  drawArrows(top - 20, top + height + 20);
  drawEvents(from, to, width);
  pen.restore();
  drawHead(width);
}

function drawChosen(width) {
  if (look.chosen < 0) return;
  const rows = look.byTime ? 18 : Math.max(3, ROW * look.zoom);
  pen.fillStyle = colors.chosen;
  pen.fillRect(0, yOf(look.chosen) - rows / 2, width, rows);
}

/** Lanes as lines. Where no process runs there is none, and where it is not run it is hatched. */
function drawGaps(top, bottom) {
  for (const [at, column] of columns.entries()) {
    pen.strokeStyle = column.replica ? colors.text : colors.request;
    pen.globalAlpha = column.replica ? 0.55 : 0.4;
    pen.lineWidth = column.replica ? 2 : 1.5;
    pen.setLineDash(column.replica ? [] : [2, 3]);
    for (const [start, end] of lifeOf(column)) {
      const [a, b] = [start < 0 ? 0 : yOf(start), end < 0 ? length() : yOf(end)];
      if (b < top || a > bottom) continue;
      pen.beginPath(); pen.moveTo(column.x, Math.max(a, top - 5)); pen.lineTo(column.x, Math.min(b, bottom + 5)); pen.stroke();
    }
    pen.setLineDash([]);
    pen.globalAlpha = 1;
    for (const band of bands) {
      if (band.r === null || columnOf[band.r] !== at) continue;
      const [a, b] = [yOf(band.f), band.t === null ? length() : yOf(band.t)];
      pen.fillStyle = colors.fault; pen.globalAlpha = 0.16;
      pen.fillRect(column.x - 9, a, 18, b - a);
      pen.globalAlpha = 1;
    }
  }
}

/** From where to where a process runs in a column; a client is always there. */
function lifeOf(column) {
  if (!column.replica || column.lanes.length > 1) return [[-1, -1]];
  if (column.life) return column.life;
  const life = [];
  let start = null;
  for (const event of events) {
    if (event.l !== column.lanes[0]) continue;
    if (event.k === "started" && start === null) start = event.at;
    if (event.k === "died" && start !== null) { life.push([start, event.at]); start = null; }
  }
  if (start !== null) life.push([start, -1]);
  return (column.life = life.length ? life : [[-1, -1]]);
}

/** Faults in force: bars in the gutter. Those that kept something away are full. */
function drawBands(top, bottom) {
  const left = narrow() ? 4 : 80;
  bands.forEach((band, at) => {
    const [a, b] = [yOf(band.f), band.t === null ? length() : yOf(band.t)];
    if (b < top || a > bottom) return;
    pen.fillStyle = colors.fault;
    pen.globalAlpha = guilty.has(at) ? 1 : 0.4;
    pen.fillRect(left + gutter[at] * 9, a, 6, Math.max(3, b - a));
    pen.globalAlpha = 1;
  });
}

const xOf = (lane) => (lane < 0 || columnOf[lane] < 0 ? null : columns[columnOf[lane]].x);

function drawArrows(top, bottom) {
  for (const it of carriages) {
    // Where no event tells of a replica's step, what it tells a watch leaves where it comes in.
    const start = it.s === null ? it.a[0] : it.s;
    if (start === undefined || rowOf[start] < 0) continue;
    const [x, y] = [xOf(it.f), yOf(start)], end = xOf(it.t);
    if (x === null || end === null) continue;
    const color = it.l && !it.a.length ? colors.fault : carriageColor(it);
    for (const to of it.a) {
      if (rowOf[to] < 0) continue;
      const down = yOf(to);
      if (Math.max(y, down) < top || Math.min(y, down) > bottom) continue;
      const lit = past.has(start) && past.has(to);
      arrow(x, y, end, down, color, it.h, look.past && past.size && !lit, lit && look.past);
    }
    if (it.a.length || y < top - 40 || y > bottom + 40) continue;
    if (it.l) lostArrow(x, y, end, isDim(start) && !broken.has(start));
  }
  pen.globalAlpha = 1;
  pen.setLineDash([]);
}

function arrow(x, y, toX, toY, color, held, dim, lit) {
  pen.strokeStyle = pen.fillStyle = color;
  pen.globalAlpha = dim ? 0.3 : 0.9;
  pen.lineWidth = lit ? 2.4 : 1.2;
  pen.setLineDash(held ? [5, 4] : []);
  const angle = Math.atan2(toY - y, toX - x), [endX, endY] = [toX - 6 * Math.cos(angle), toY - 6 * Math.sin(angle)];
  pen.beginPath(); pen.moveTo(x, y); pen.lineTo(endX, endY); pen.stroke();
  pen.setLineDash([]);
  pen.beginPath();
  pen.moveTo(endX, endY);
  for (const turn of [2.65, -2.65]) pen.lineTo(endX + 7 * Math.cos(angle + turn), endY + 7 * Math.sin(angle + turn));
  pen.fill();
}

/** Half of the way, and a cross. */
function lostArrow(x, y, toX, dim) {
  pen.strokeStyle = colors.fault;
  pen.globalAlpha = dim ? 0.35 : 1;
  pen.lineWidth = 1.6;
  pen.setLineDash([4, 3]);
  const [cx, cy] = [x + (toX - x) * 0.55, y + 7];
  pen.beginPath(); pen.moveTo(x, y); pen.lineTo(cx, cy); pen.stroke();
  pen.setLineDash([]);
  pen.lineWidth = 2;
  pen.beginPath();
  pen.moveTo(cx - 4, cy - 4); pen.lineTo(cx + 4, cy + 4); pen.moveTo(cx + 4, cy - 4); pen.lineTo(cx - 4, cy + 4);
  pen.stroke();
}

/** How much an event's words matter where there is no room for all. */
function weight(event) {
  if (event.at === look.chosen) return 5;
  if (event.k === "violation" || missing.has(event.at)) return 4;
  if (broken.has(event.at)) return 3;
  return past.has(event.at) && look.past ? 2 : event.group === "faults" ? 1 : 0;
}

/** The events whose words fit: those that matter most first, none over another. */
function withWords(from, to) {
  const some = shown.slice(from, to);
  if (!look.byTime && ROW * look.zoom >= 13) return new Set(some.map((event) => event.at));
  const taken = new Set(), words = new Set();
  for (const event of some.sort((a, b) => weight(b) - weight(a) || a.at - b.at)) {
    const y = Math.round(yOf(event.at));
    let free = true;
    for (let near = y - 13; near <= y + 13; near++) free = free && !taken.has(near);
    if (free) { taken.add(y); words.add(event.at); }
  }
  return words;
}

function drawEvents(from, to, width) {
  const words = withWords(from, to);
  pen.textBaseline = "middle";
  for (let row = from; row < to; row++) {
    const event = shown[row], y = yOf(event.at), dim = isDim(event.at) && event.at !== look.chosen;
    pen.globalAlpha = dim ? 0.45 : 1;
    if (look.hits.has(event.at)) { pen.fillStyle = colors.key; pen.fillRect(0, y - 6, 4, 12); }
    mark(event, y);
    if (!words.has(event.at)) continue;
    pen.globalAlpha = dim ? 0.6 : 1;
    pen.font = "12px system-ui, 'DejaVu Sans', sans-serif";
    if (!narrow()) { pen.fillStyle = colors.faint; pen.textAlign = "right"; pen.fillText(seconds(event.t).replace(" s", ""), 72, y); }
    pen.textAlign = "left";
    let x = textAt;
    for (const [is, sign, color] of [[missing, "★ ", colors.request], [broken, "⚡ ", colors.fault], [decided, "◆ ", colors.accent]]) {
      if (!is.has(event.at)) continue;
      pen.globalAlpha = 1; pen.fillStyle = color; pen.fillText(sign, x, y); x += 17;
    }
    pen.fillStyle = textColor(event);
    pen.font = (past.has(event.at) && look.past ? "600 " : "") + "12.5px system-ui, 'DejaVu Sans', sans-serif";
    fitText(event.say, x, y, width - x - 8);
  }
  pen.globalAlpha = 1;
}

function textColor(event) {
  if (event.o === "violation") return colors.bad;
  if (event.o === "refused") return colors.faint;
  return event.o === "fault" || event.o === "lost" ? colors.fault : colors.text;
}

function fitText(text, x, y, room) {
  if (room < 20) return;
  if (pen.measureText(text).width > room) {
    let [low, high] = [0, text.length];
    while (low < high) { const mid = (low + high + 1) >> 1; if (pen.measureText(text.slice(0, mid) + "…").width <= room) low = mid; else high = mid - 1; }
    text = text.slice(0, low) + "…";
  }
  pen.fillText(text, x, y);
}

/** An event's mark; its shape says its kind, so colour is not needed. */
function mark(event, y) {
  const x = xOf(event.l);
  if (x === null) {
    if (event.l < 0 && event.k !== "violation") { pen.fillStyle = colors.fault; pen.fillRect(narrow() ? 3 : 79, y - 3, 8, 6); }
    if (event.k === "violation") star(pen, narrow() ? 8 : 84, y);
    return;
  }
  sketch(pen, event, x, y);
  if (missing.has(event.at)) { pen.globalAlpha = 1; pen.strokeStyle = colors.request; pen.beginPath(); pen.arc(x, y, 10, 0, 7); pen.stroke(); }
}

/** The shape of an event's mark at a place, on the picture or in the legend. */
function sketch(ink, event, x, y) {
  const shape = event.k;
  ink.lineWidth = 2;
  ink.strokeStyle = ink.fillStyle = textColor(event) === colors.text ? colorOf(event) : textColor(event);
  ink.beginPath();
  if (shape === "violation") return star(ink, x, y);
  if (shape === "asked" || shape === "answered") ink.rect(x - 4.5, y - 4.5, 9, 9);
  else if (shape === "told") ink.rect(x - 6, y - 3, 12, 6);
  else if (shape === "applied") { ink.moveTo(x, y - 6.5); ink.lineTo(x + 6.5, y); ink.lineTo(x, y + 6.5); ink.lineTo(x - 6.5, y); ink.closePath(); }
  else if (shape === "started") { ink.moveTo(x - 6, y - 5); ink.lineTo(x + 6, y - 5); ink.lineTo(x, y + 6); ink.closePath(); }
  else if (shape === "died") { ink.moveTo(x - 5, y - 5); ink.lineTo(x + 5, y + 5); ink.moveTo(x + 5, y - 5); ink.lineTo(x - 5, y + 5); ink.stroke(); return; }
  else ink.arc(x, y, shape === "sent" || shape === "received" ? 3 : shape === "refused" ? 5.5 : 3.5, 0, 7);
  const isLost = event.o === "lost";
  const hollow = isLost || ["answered", "told", "event", "acted", "refused", "stream", "replies"].includes(shape);
  if (isLost) ink.setLineDash([2, 2]);
  if (hollow) { ink.globalAlpha = Math.max(ink.globalAlpha, 0.5); ink.save(); ink.fillStyle = colors.back; ink.fill(); ink.restore(); ink.stroke(); } else ink.fill();
  ink.setLineDash([]);
  if (shape === "refused") { ink.beginPath(); ink.moveTo(x - 4, y + 4); ink.lineTo(x + 4, y - 4); ink.stroke(); }
}

function colorOf(event) {
  if (event.group === "requests" || event.group === "watches") return colors.request;
  if (event.group === "writes") return colors.write;
  const it = carriageOf(event);
  return it ? carriageColor(it) : colors.text;
}

function star(ink, x, y) {
  ink.fillStyle = colors.bad;
  ink.globalAlpha = 1;
  ink.beginPath();
  for (let n = 0; n < 10; n++) {
    const [r, a] = [n % 2 ? 5 : 10, (n * Math.PI) / 5 - Math.PI / 2];
    ink.lineTo(x + r * Math.cos(a), y + r * Math.sin(a));
  }
  ink.fill();
}

function drawHead(width) {
  pen.fillStyle = colors.sheet;
  pen.fillRect(0, 0, width, HEAD);
  pen.strokeStyle = colors.line; pen.lineWidth = 1;
  pen.beginPath(); pen.moveTo(0, HEAD - 0.5); pen.lineTo(width, HEAD - 0.5); pen.stroke();
  pen.textBaseline = "middle"; pen.textAlign = "center";
  for (const column of columns) {
    pen.font = "600 13px system-ui, 'DejaVu Sans', sans-serif";
    pen.fillStyle = column.replica ? colors.text : colors.request;
    pen.fillText(column.lanes.length > 1 && columns.step < 50 ? "⋯" : column.name, column.x, HEAD / 2);
  }
  pen.font = "12px system-ui, 'DejaVu Sans', sans-serif";
  pen.fillStyle = colors.faint; pen.textAlign = "left";
  if (!narrow()) pen.fillText("seconds", 24, HEAD / 2);
  pen.fillText(`${shown.length} events`, textAt, HEAD / 2);
}

/** The event nearest to a point, in what is shown. */
function eventAt(x, y) {
  if (!shown.length) return -1;
  const down = y - HEAD + view.scrollTop;
  if (!look.byTime) return shown[Math.max(0, Math.min(shown.length - 1, Math.floor(down / (ROW * look.zoom))))].at;
  const near = rowAt(down);
  let best = -1, least = Infinity;
  for (let row = Math.max(0, near - 40); row < Math.min(shown.length, near + 40); row++) {
    const at = shown[row].at, lane = xOf(shown[row].l);
    const far = Math.abs(yOf(at) - down) + (x < textAt && lane !== null ? Math.abs(lane - x) / 6 : 0);
    if (far < least) [best, least] = [at, far];
  }
  return best;
}
