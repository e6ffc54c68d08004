/* Draws the timeline of one run, or of several laid over each other.

     const plot = drawPlot(element, data, options)

   element  gets the class dp, whose rules are in plot.css; its width is the width of the plot.
   data     what deforum.reports.plot.encoding.as_json returns, or a list of these.
   options  keyboard: "page" hears keys pressed anywhere on the page, "element" (default) those within the element;
            title: false leaves out the titles and facts of the runs;
            onCursor(frame): called when the reader moves the cursor to another frame;
            onSelect(frame): called when the reader clicks or taps a frame.

   plot.setCursor(frame)        moves the cursor, and the view where it would be outside; calls nothing.
   plot.setView(first, last)    shows these frames; setView() shows all.
   plot.setData(data)           draws other data, with the view and the cursor as they are.
   plot.state()                 {cursor, first, last}: what is shown.
   plot.destroy()               empties the element. */

const SECTIONS = "SECTION_HUES"; // section -> colour, from theme.py
const SECTION_NAMES = {"": "General", video_input: "Video input", controlnet: "Control units"};

class Plot {
  constructor(element, options) {
    this.element = element;
    this.options = options;
    this.view = new View();
    this.cursor = null;
    this.runs = [];
    this.cuts = new Map(); // run -> frames at which its prompts begin
    this.lanes = [];
    this.opened = new Set(); // names of lanes
    this.hovered = null; // lane
    this.isPending = false;
    this.life = new AbortController(); // ends with the plot
    this.drawn = new AbortController(); // ends with its elements, when other data are drawn
    this.seen = new IntersectionObserver(entries => this.see(entries), {rootMargin: "300px 0px"});
    this.resized = new ResizeObserver(entries => this.resize(entries[entries.length - 1].contentRect.width));
    const keys = options.keyboard === "page" ? document : element;
    keys.addEventListener("keydown", event => press(this, event), {signal: this.life.signal});
  }

  get isSeveral() { return this.runs.length > 1; }

  // --- building ---

  setData(data) {
    const {view} = this, isWhole = view.isWhole;
    this.runs = Array.isArray(data) ? data : [data];
    view.frames = Math.max(...this.runs.map(run => run.frames));
    this.first = Math.min(...this.runs.map(run => run.first)); // frame that is rendered
    this.cursor = clamp(this.cursor ?? this.first, 0, view.frames - 1);
    const cutsOf = run => run.prompts.bands.slice(1).map(start).filter(frame => frame < run.frames);
    this.cuts = new Map(this.runs.map(run => [run, cutsOf(run)]));
    this.build();
    if (isWhole) this.look(0, Infinity); else this.look(view.first, view.last);
  }

  build() {
    this.clear();
    this.drawn = new AbortController();
    this.filter = makeFilter(() => this.search(), this.filter ? this.filter.value : "");
    this.scale = new Scale(this);
    this.body = make("div", "dp-body");
    this.box = make("div", "dp-lanes");
    this.lanes = [];
    this.addOverlay();
    this.addLanes();
    this.empty = make("p", "dp-empty", this.rows.length ? "" : "No schedule varies over the frames.");
    this.box.append(this.empty);
    this.body.append(this.scale.element, this.box);
    const head = make("header", "dp-head");
    if (this.options.title !== false) head.append(makeTitle(this.runs));
    head.append(makeTools(this));
    this.element.classList.add("dp");
    this.element.append(head, this.body, makeFoot(this.runs));
    new Pointer(this);
    listenToOverview(this);
    for (const lane of this.lanes) this.seen.observe(lane.row);
    this.resized.observe(this.scale.place);
    this.search();
  }

  clear() {
    this.drawn.abort();
    this.seen.disconnect();
    this.resized.disconnect();
    this.hovered = null;
    this.element.replaceChildren();
  }

  onWindow(kind, act) {
    window.addEventListener(kind, act, {signal: this.drawn.signal});
  }

  /** Add what lies over all lanes: the line of the cursor, its value, and the selection. */
  addOverlay() {
    const over = make("div", "dp-over");
    this.line = make("div", "dp-line");
    this.tip = make("div", "dp-tip");
    this.selection = make("div", "dp-selection");
    this.selection.hidden = true;
    this.before = make("div", "dp-before"); // frames that are not rendered
    over.append(this.before, this.line, this.tip, this.selection);
    this.box.append(over);
  }

  addLanes() {
    const title = run => this.isSeveral ? run.title : "";
    for (const run of this.runs) {
      this.add(new PromptLane(this, run, title(run)));
      if (run.seeds.length) this.add(makeSeedLane(this, run, title(run)));
      this.add(new PaintedLane(this, run, title(run)));
    }
    let section = null;
    for (const rows of this.merged()) {
      const [[, row]] = rows;
      if (row.section !== section) this.addHeading(SECTION_NAMES[row.section] || row.section, row.section);
      ({section} = row);
      if (!row.texts) this.add(new CurveLane(this, rows));
      else for (const [i, each] of rows) this.add(new TrackLane(this, each, this.runs[i], title(this.runs[i])));
    }
    const sounds = this.runs.map(run => run.sound).filter(Boolean);
    if (sounds.length && section !== "sound") this.addHeading("sound");
    for (const sound of sounds) this.add(new SoundLane(this, sound));
  }

  add(lane) {
    this.lanes.push(lane);
    this.box.append(lane.row);
  }

  addHeading(name, section = null) {
    const heading = make("h2", "dp-section", name[0].toUpperCase() + name.slice(1));
    if (section !== null) heading.dataset.section = section;
    this.box.append(heading);
  }

  /** Return the rows of all runs by name: [[index of the run, row]], in order of their sections. */
  merged() {
    const rows = new Map();
    this.runs.forEach((run, index) => run.rows.forEach(row => {
      if (!rows.has(row.name)) rows.set(row.name, []);
      rows.get(row.name).push([index, row]);
    }));
    const sections = [...new Set(this.runs.flatMap(run => run.rows.map(row => row.section)))];
    const rank = ([[, row]]) => sections.indexOf(row.section);
    return [...rows.values()].sort((a, b) => rank(a) - rank(b));
  }

  // --- drawing ---

  see(entries) {
    let isMore = false;
    for (const entry of entries) {
      const lane = this.lanes.find(each => each.row === entry.target);
      if (!lane) continue;
      isMore ||= entry.isIntersecting && !lane.isSeen;
      lane.isSeen = entry.isIntersecting;
    }
    if (isMore) this.refresh();
  }

  resize(width) {
    if (!width || width === this.view.width) return;
    this.view.width = width;
    this.refresh();
  }

  /** Draw anew, once for all that changes until the next frame of the screen. */
  refresh() {
    if (this.isPending) return;
    this.isPending = true;
    requestAnimationFrame(() => {
      this.isPending = false;
      if (!this.view.width || !this.runs.length) return;
      this.scale.draw();
      for (const lane of this.shown) lane.draw();
      this.point();
    });
  }

  get shown() { return this.lanes.filter(lane => lane.isSeen && !lane.row.hidden); }
  /** The lanes of schedules, which are filtered. */
  get rows() { return this.lanes.filter(lane => lane.section !== undefined); }

  /** Show the cursor and what is read there. */
  point() {
    const {view, cursor} = this, x = view.centre(cursor);
    this.line.hidden = !view.has(cursor);
    this.before.style.width = `${px(clamp(view.x(this.first), 0, view.width))}px`;
    this.line.style.left = `${px(x)}px`;
    this.scale.point(cursor);
    for (const lane of this.shown) lane.read(cursor);
    this.showTip(x);
  }

  /** Show the value of the lane under the pointer, beside the cursor. */
  showTip(x) {
    const lane = this.hovered, {tip, cursor, view} = this;
    tip.hidden = !(lane instanceof CurveLane && lane.y && view.has(cursor));
    if (tip.hidden) return;
    const [{values}] = lane.curves, y = lane.y(values[Math.min(cursor, values.length - 1)]);
    const top = lane.place.getBoundingClientRect().top - this.box.getBoundingClientRect().top;
    tip.textContent = lane.values.map(value => value.textContent).join("  ");
    tip.style.top = `${px(top + clamp(y - 11, 0, lane.height - 22))}px`;
    tip.style.left = `${px(x)}px`;
    tip.classList.toggle("dp-tip-left", x > view.width - 90);
  }

  // --- moving ---

  move(frame, {tells = true} = {}) {
    const {view} = this, to = clamp(Math.floor(frame), 0, view.frames - 1), isNew = to !== this.cursor;
    this.cursor = to;
    if (isNew && tells) this.options.onCursor?.(to);
    if (view.has(to)) {
      this.point();
      return;
    }
    const first = to < view.first ? to - view.length * 0.1 : to + 1 - view.length * 0.9;
    this.look(first, first + view.length);
  }

  look(first, last) {
    this.view.set(first, last === Infinity ? this.view.frames : last);
    this.element.classList.toggle("dp-is-zoomed", !this.view.isWhole);
    this.refresh();
  }

  /** Change the length of the view by a factor; what stays in place is the cursor where it is in view, or `still`. */
  zoom(factor, still = null) {
    const {view, cursor} = this;
    view.zoom(factor, still ?? (view.has(cursor) ? cursor + 0.5 : (view.first + view.last) / 2));
    this.look(view.first, view.last);
  }

  pan(by) {
    this.look(this.view.first + by, this.view.last + by);
  }

  /** Mark what is dragged over, between two places in px. */
  select(a, b) {
    const [left, right] = [Math.min(a, b), Math.max(a, b)].map(x => clamp(x, 0, this.view.width));
    this.selection.hidden = right - left < DRAGGED;
    this.selection.style.left = `${px(left)}px`;
    this.selection.style.width = `${px(right - left)}px`;
  }

  /** Note the lane under the pointer, by its element. */
  hover(row) {
    this.hovered = row && this.lanes.find(lane => lane.row === row) || null;
    if (!this.hovered) this.tip.hidden = true;
  }

  /** Return the keyframes of the lanes that are shown, and of the prompts. */
  keyframes() {
    const marks = this.rows.filter(lane => !lane.row.hidden).flatMap(lane => lane.marks);
    return [0, ...[...this.cuts.values()].flat(), ...marks];
  }

  /** Move the cursor to the nearest of some frames, before it (-1) or after it (1). */
  step(frames, direction) {
    const there = frames.filter(frame => (frame - this.cursor) * direction > 0);
    if (there.length) this.move(there.reduce((a, b) => (a - b) * direction < 0 ? a : b));
  }

  search() {
    const words = this.filter.value.trim().toLowerCase().split(/\s+/).filter(Boolean), shown = new Set();
    for (const lane of this.rows) {
      const text = `${lane.name} ${lane.section}`.toLowerCase();
      lane.row.hidden = !words.every(word => text.includes(word));
      if (!lane.row.hidden) shown.add(lane.section);
    }
    const headings = this.box.querySelectorAll("[data-section]");
    for (const heading of headings) heading.hidden = !shown.has(heading.dataset.section);
    if (this.rows.length) this.empty.textContent = shown.size ? "" : "No schedule has these words in its name.";
    this.refresh();
  }

  endSearch() {
    this.filter.value = "";
    this.search();
    this.scale.slider.focus();
  }
}

globalThis.drawPlot = (element, data, options = {}) => {
  const plot = new Plot(element, options);
  plot.setData(data);
  return {
    setCursor(frame) {
      plot.hover(null);
      plot.move(frame, {tells: false});
    },
    setView: (first = 0, last = Infinity) => plot.look(first, last + 1),
    setData: given => plot.setData(given),
    state: () => ({cursor: plot.cursor, first: plot.view.first, last: plot.view.last - 1}),
    destroy() {
      plot.life.abort();
      plot.clear();
      plot.runs = [];
    },
  };
};
