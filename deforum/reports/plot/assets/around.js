/* What stands around the lanes: titles and tools above, the legend and what does not vary below. */

const LEGEND = [
  ["dp-mark-number", "keyframe"], ["dp-mark-expression", "keyframe with an expression"],
  ["dp-mark-painted", "painted frame"], ["dp-mark-cut", "a prompt begins"],
];
const HELP = [
  ["← →", "frame by frame; with Shift 10 frames"], ["Home End", "first, last frame"],
  ["[ ]", "previous, next keyframe"], [", .", "previous, next painted frame"],
  ["+ −", "zoom in, out at the cursor"], ["0", "all frames"], ["/", "filter"],
  ["drag", "zoom to the frames dragged over; double-click: all frames"],
  ["Ctrl + wheel, pinch", "zoom"], ["Shift + wheel, two fingers", "move along"],
];

function makeTitle(runs) {
  const title = make("div", "dp-title");
  runs.forEach((run, index) => {
    const one = make("div", "dp-run"), facts = make("ul", "dp-facts");
    const name = makeText("h1", "", run.title || "Timeline");
    if (runs.length > 1) name.prepend(makeSwatch(index));
    facts.append(...factsOf(run).map(fact => make("li", "", fact)));
    one.append(name, facts);
    title.append(one);
  });
  return title;
}

function factsOf(run) {
  return [
    run.first ? `frames ${run.first} to ${run.frames - 1}` : run.frames === 1 ? "1 frame" : `${run.frames} frames`,
    `${show(run.fps)} fps`, briefly((run.frames - run.first) / run.fps),
    run.mode, run.size ? `${run.size[0]}×${run.size[1]}` : "",
    run.cadence === 0 ? `${run.painted.length} frames painted`
      : run.cadence === 1 ? "every frame painted" : `painted every ${run.cadence} frames`,
    run.seed_drawn ? `seed drawn (shown: ${run.seed})` : `seed ${run.seed}`,
  ].filter(Boolean);
}

function makeTools(plot) {
  const tools = make("div", "dp-tools"), group = make("div", "dp-zoom");
  const button = (label, text, name, act) => {
    const made = makeButton(`dp-button ${name}`, text, act);
    made.title = label;
    made.setAttribute("aria-label", label);
    return made;
  };
  group.append(
    button("Zoom out (-)", "−", "dp-out", () => plot.zoom(2)),
    button("Zoom in (+)", "+", "dp-in", () => plot.zoom(0.5)),
    button("Show all frames (0)", "Fit", "dp-fit", () => plot.look(0, Infinity)),
  );
  tools.append(plot.filter, group);
  return tools;
}

function makeFilter(search, text) {
  const filter = make("input", "dp-filter");
  filter.type = "search";
  filter.value = text;
  filter.placeholder = "Filter schedules";
  filter.setAttribute("aria-label", filter.placeholder);
  filter.addEventListener("input", search);
  return filter;
}

function makeFoot(runs) {
  const foot = make("footer", "dp-foot"), legend = make("p", "dp-legend");
  const beats = runs.some(run => run.sound?.beats.length) ? [["dp-mark-beat", "beat"]] : [];
  for (const [mark, text] of [...LEGEND, ...beats]) {
    const item = make("span", "dp-item");
    item.append(make("i", mark), text);
    legend.append(item);
  }
  foot.append(legend);
  for (const run of runs) {
    const name = runs.length > 1 ? `${run.title}: ` : "";
    const text = value => typeof value === "number" ? show(value) : value || "–";
    const steady = run.steady.map(([what, value, unit]) => [what, text(value), unit]);
    for (const [what, rows] of [["The same in every frame", steady], ["Varies, without effect here", run.idle]]) {
      if (rows.length) foot.append(makeDetails("dp-steady", `${name}${what} (${rows.length})`, makeTerms(rows)));
    }
  }
  foot.append(makeDetails("dp-keys", "Keys and gestures", makeTerms(HELP)));
  return foot;
}
