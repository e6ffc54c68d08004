/* The page: its views, the events of the server, and what connects frames, plot, queue and editor. */
import {$, ask, folderPath, make, toast, tried} from "./dom.js";
import {Editor} from "./editor.js";
import {Preview} from "./preview.js";
import {Queue} from "./queue.js";
import {Viewer} from "./viewer.js";

const VIEWS = ["watch", "edit", "queue"];
let events = null, awaited = "", run = null, plot = null, plotted = "", asking = null;

// --- views ---

function view(name) {
  document.body.dataset.view = name;
  $("watch").hidden = name !== "watch" && !(name === "queue" && !isNarrow());
  $("edit").hidden = name !== "edit";
  for (const each of VIEWS) {
    const tab = $(`tab-${each}`);
    tab.setAttribute("aria-selected", String(each === name));
    tab.tabIndex = each === name ? 0 : -1;
  }
  if (name === "edit") editor.text.focus({preventScroll: true});
  history.replaceState(null, "", hash({view: name}));
}

const isNarrow = () => matchMedia("(max-width: 700px)").matches;
const hash = change => `#${new URLSearchParams({...Object.fromEntries(new URLSearchParams(location.hash.slice(1))), ...change})}`;

for (const name of VIEWS) $(`tab-${name}`).onclick = () => view(name);
document.querySelector(".tabs").addEventListener("keydown", event => {
  const by = {ArrowRight: 1, ArrowLeft: -1}[event.key];
  if (!by) return;
  const tabs = VIEWS.filter(name => $(`tab-${name}`).offsetParent !== null);
  const next = tabs[(tabs.indexOf(document.body.dataset.view) + by + tabs.length) % tabs.length];
  view(next);
  $(`tab-${next}`).focus();
  event.preventDefault();
  event.stopPropagation();
});
$("to-edit").onclick = () => view("edit");
$("help-open").onclick = () => $("help").showModal();

document.addEventListener("keydown", event => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  const inText = event.target.closest("textarea, input:not([type=range]):not([type=checkbox]), select, [contenteditable], .dp");
  if (inText) return;
  if (event.key === "?") $("help").showModal();
  else if (["1", "2", "3"].includes(event.key)) {
    const name = VIEWS[Number(event.key) - 1];
    if ($(`tab-${name}`).offsetParent === null) return;
    view(name);
  } else {
    if (document.body.dataset.view !== "watch") return;
    if (event.key === " " && event.target.closest("button, a, summary, input")) return; // these have their own meaning
    if (!viewer.press(event)) return;
  }
  event.preventDefault();
});

// --- parts ---

const viewer = new Viewer(index => {
  plot?.setCursor(index);
  tellPrompt(index);
});

async function tellPrompt(index) {
  asking?.abort();
  const asked = asking = new AbortController();
  await new Promise(done => setTimeout(done, 120)); // while frames are played, the last one alone is asked for
  if (asked.signal.aborted) return;
  try {
    const {prompt = ""} = await viewer.facts(index, asked.signal);
    $("prompt").textContent = prompt;
  } catch { /* another frame is asked for, or the run is gone */ }
}

const queue = new Queue({
  onPick: name => { watch(name); view("watch"); },
  onEdit: tried(async name => {
    const text = await ask("GET", folderPath(name, "/settings"));
    if (editor.file.can_be_saved && editor.isDirty && !confirm(`Changes in ${editor.file.name} are not saved. Leave them?`)) return;
    editor.open({name: "settings.yaml", text});
    view("edit");
  }),
});

const editor = new Editor({
  onRender: job => {
    awaited = job.id;
    toast(`run ${job.id} is in the queue`);
    view(isNarrow() ? "queue" : "watch");
    goToAwaited();
  },
  onGood: body => { drawPlotOfText(body); foresee(body); preview.changed(); },
  onPreview: () => preview.make(),
});
const preview = new Preview(() => editor.body());

let foreseeing = null;
/** Show what a render of the text will be like. */
async function foresee(body) {
  foreseeing?.abort();
  const asked = foreseeing = new AbortController();
  try {
    const {lines} = await ask("POST", "/api/forecast", body, asked.signal);
    $("forecast").replaceChildren(...lines.map(line => make("li", {textContent: line})));
  } catch { /* it is asked again, with other settings */ }
}

let textPlot = null, drawing = null;
/** Draw the timeline below the editor, with the view and the cursor as they were. */
async function drawPlotOfText(body) {
  drawing?.abort();
  const asked = drawing = new AbortController();
  try {
    const data = await ask("POST", "/api/plot", body, asked.signal);
    $("edit-plot-box").hidden = false;
    if (textPlot) textPlot.setData(data); else textPlot = drawPlot($("edit-plot"), data, {keyboard: "element"});
  } catch { /* the check tells what is wrong */ }
}

/** Watch the run that was asked for in the editor, as soon as it has begun. */
function goToAwaited() {
  const job = queue.runs.get(awaited);
  if (!job?.folder) return;
  awaited = "";
  watch(job.folder);
  view("watch");
}

// --- the run that is watched ---

function watch(name) {
  if (name === viewer.name && events) return;
  viewer.open(name);
  run = null;
  $("run-card").hidden = true;
  $("prompt").textContent = "";
  queue.pick(name);
  history.replaceState(null, "", hash({run: name}));
  drawPlotOf(name);
  listen();
}

async function drawPlotOf(name) {
  if (plotted === name) return;
  plot?.destroy();
  plot = null;
  plotted = name;
  $("plot-none").hidden = true;
  if (!name || typeof drawPlot !== "function") return;
  try {
    const data = await ask("GET", folderPath(name, "/plot"));
    if (plotted !== name) return;
    const pick = frame => { viewer.show(viewer.nearest(frame), {byHand: true, quietly: true}); tellPrompt(frame); };
    plot = drawPlot($("plot"), data, {keyboard: "element", onSelect: pick, onCursor: frame => {
      if (viewer.frames.has(frame)) pick(frame);
    }});
    if (viewer.at >= 0) plot.setCursor(viewer.at);
  } catch (error) {
    if (plotted !== name) return;
    $("plot-none").hidden = false;
    $("plot-none").textContent = error.message;
  }
}

function redraw() {
  if (!run) return;
  viewer.fps = run.facts.fps || 15;
  viewer.isGoing = run.state === "rendering";
  viewer.refresh();
  queue.show(run);
}

// --- events ---

function link(state, text) {
  $("link").dataset.state = state;
  $("link").textContent = text;
}

function listen() {
  events?.close();
  const source = events = new EventSource(`/api/events?run=${encodeURIComponent(viewer.name)}`);
  const hear = (kind, act) => source.addEventListener(kind, event => { if (source === events) act(JSON.parse(event.data)); });
  source.onopen = () => link("open", "connected");
  source.onerror = () => link("lost", "the server does not answer");
  let known = "";
  hear("queue", told => {
    queue.take(told);
    goToAwaited();
    if (run?.job) redraw();
    const begun = [...queue.runs.values()].map(each => `${each.folder}:${each.state}`).join();
    if (begun !== known) {
      known = begun;
      list();
    }
  });
  hear("run", told => {
    const isNew = !run || run.state !== told.state;
    run = told;
    redraw();
    if (isNew) list();
  });
  hear("frames", told => viewer.take(told));
  hear("gone", () => { toast(`${viewer.name} is not there any more`); list(); });
}

let listing = 0;
function list() {
  clearTimeout(listing);
  listing = setTimeout(async () => {
    const folders = await queue.list().catch(() => []);
    if (!viewer.name && folders.length) watch(folders[0].name);
  }, 150);
}
setInterval(list, 10000); // runs of other processes

// --- the beginning ---

const given = new URLSearchParams(location.hash.slice(1));
const opened = await ask("GET", "/api/file").catch(error => {
  toast(error.message);
  return {name: "", shown: ""};
});
if (location.search) history.replaceState(null, "", location.pathname + location.hash); // the token is in a cookie now
editor.start(opened);
const first = given.get("run") || opened.shown;
view(VIEWS.includes(given.get("view")) ? given.get("view") : opened.name && !first ? "edit" : "watch");
if (first) watch(first); else { listen(); }
list();
document.body.dataset.ready = "true";
