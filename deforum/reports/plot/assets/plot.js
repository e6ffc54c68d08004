/* Draws the timeline of one run, or of several laid over each other.

     const plot = drawPlot(element, data, options)

   element  gets the class dp, whose rules are in plot.css; its width is the width of the plot.
   data     what deforum.reports.plot.encoding.as_json returns, or a list of these.
   options  keyboard: "page" hears keys pressed anywhere on the page, "element" (default) those within the element;
            onCursor(frame): called when the reader moves the cursor to another frame;
            title: false leaves out the titles and facts of the runs;
            onSelect(frame): called when the reader clicks or taps a frame.

   plot.setCursor(frame)        moves the cursor, and the view where it would be outside; calls nothing.
   plot.setView(first, last)    shows these frames; setView() shows all.
   plot.setData(data)           draws other data, with the view and the cursor as they are.
   plot.state()                 {cursor, first, last}: what is shown.
   plot.destroy()               empties the element.

   All texts are data of strangers: they are set as textContent, never as HTML. */
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const HUES = ["blue", "violet", "orange", "green", "pink", "teal", "gold", "red"];
  const SECTIONS = "SECTION_HUES";
  const SECTION_NAMES = {"": "General", video_input: "Video input", controlnet: "Control units"};
  const HEIGHT = {prompts: 30, runs: 24, painted: 20, curve: 60, open: 190, sound: 64};
  const LEAST_VIEW = 6; // frames
  const PAD = 8; // px above and below a curve

  // --- reading data ---------------------------------------------------------------------------------------------------

  /** Decode a curve: a list of numbers, or base64 of little-endian floats behind "f4:" or "f8:". */
  function decode(values) {
    if (typeof values !== "string") return Float64Array.from(values);
    const bytes = Uint8Array.from(atob(values.slice(3)), letter => letter.charCodeAt(0));
    return values.startsWith("f8:") ? new Float64Array(bytes.buffer) : new Float32Array(bytes.buffer);
  }

  /** Unpack texts to [[first frame, text]]: each is stored as what differs from the one before. */
  function unpack(packed) {
    let text = "";
    return packed.map(([start, kept, middle, tail]) => {
      text = text.slice(0, kept) + middle + text.slice(text.length - tail);
      return [start, text];
    });
  }

  /** Return the index of the last of sorted values that is at most `value`; -1 if none is. */
  function lastAtMost(values, value, of = each => each) {
    let low = 0, high = values.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (of(values[middle]) <= value) low = middle + 1; else high = middle;
    }
    return low - 1;
  }

  /** Write a number of an axis, in steps of a hundredth to a thousandth of `span`. */
  function brief(value, span) {
    if (!span) return String(Number(value.toPrecision(6)));
    return String(Number(value.toFixed(clamp(2 - Math.floor(Math.log10(span)), 0, 12))) + 0);
  }

  /** Write a number as `values` does, fractions with six digits. */
  const show = value => Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  function hash(text) {
    let value = 2166136261;
    for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 16777619);
    return (value ^ (value >>> 15)) >>> 0;
  }

  // --- elements -------------------------------------------------------------------------------------------------------

  function make(tag, name = "", text = "") {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== "") element.textContent = text;
    return element;
  }

  function draw(parent, tag, attributes) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    parent.append(element);
    return element;
  }

  /** Draw a text in the language and direction of its own. */
  function write(parent, x, y, text, attributes) {
    const element = draw(parent, "text", {x, y, ...attributes});
    element.textContent = text;
    return element;
  }

  const px = value => String(Math.round(value * 10) / 10);

  /** Return round numbers within a range, about `count` of them. */
  function ticks(low, high, count) {
    const rough = (high - low) / Math.max(count, 1);
    if (!(rough > 0)) return [];
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find(each => each * power >= rough) * power;
    const found = [];
    for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) found.push(i * step);
    return found;
  }

  function duration(seconds) {
    if (seconds < 60) return `${seconds.toFixed(2)} s`;
    const whole = Math.round(seconds * 100) / 100, minutes = Math.floor(whole / 60), hours = Math.floor(minutes / 60);
    const rest = (whole - 60 * minutes).toFixed(2).padStart(5, "0");
    return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
  }

  /** Write a time without the digits that say nothing. */
  const briefly = seconds => duration(seconds).replace(/\.?0+ s$/, " s").replace(/\.00$/, "");

  // --- the plot -------------------------------------------------------------------------------------------------------

  function drawPlot(element, data, options = {}) {
    const alive = new AbortController();
    let drawn = new AbortController(); // ends what listens to the elements of the data before
    const on = (target, kind, act, more = {}) => target.addEventListener(kind, act, {signal: drawn.signal, ...more});
    let runs = [], frames = 1, lanes = [], view = [0, 1], cursor = 0, width = 0, pending = false, hovered = null;
    let overview, ruler, read, flag, line, tip, filter, empty, lanesBox, selection, slider;
    const opened = new Set(); // names of lanes
    const cuts = new Map(); // run -> frames at which its prompts begin

    const X = frame => (frame - view[0]) / (view[1] - view[0]) * width; // of the left edge of a frame
    const C = frame => X(frame + 0.5); // of its centre
    const perFrame = () => width / (view[1] - view[0]);
    const hueOf = (run, section) => runs.length > 1 ? HUES[run % HUES.length] : SECTIONS[section] || "blue";

    // --- building ---

    function build() {
      drawn.abort();
      drawn = new AbortController();
      seen.disconnect();
      resize.disconnect();
      element.classList.add("dp");
      element.replaceChildren();
      lanes = [];
      element.append(header());
      const body = make("div", "dp-body");
      const top = make("div", "dp-top");
      read = make("div", "dp-read");
      const scale = make("div", "dp-scale");
      overview = draw(scale, "svg", {class: "dp-overview", height: 20});
      ruler = draw(scale, "svg", {class: "dp-ruler", height: 30});
      flag = make("div", "dp-flag");
      slider = make("div", "dp-slider");
      slider.tabIndex = 0;
      for (const [name, value] of [["role", "slider"], ["aria-label", "Frame"], ["aria-valuemin", "0"],
        ["aria-valuemax", String(frames - 1)]]) slider.setAttribute(name, value);
      slider.append(flag);
      scale.append(slider);
      top.append(read, scale);
      lanesBox = make("div", "dp-lanes");
      line = make("div", "dp-line");
      tip = make("div", "dp-tip");
      selection = make("div", "dp-selection");
      body.append(top, lanesBox);
      const over = make("div", "dp-over");
      over.append(line, tip, selection);
      lanesBox.append(over);
      runs.forEach((run, index) => {
        const suffix = runs.length > 1 ? run.title : "";
        addPrompts(run, suffix);
        if (run.seeds.length) addSeeds(run, suffix);
        addPainted(run, suffix);
      });
      let section = null;
      for (const rows of merged()) {
        const [, row] = rows[0];
        if (row.section !== section) {
          section = row.section;
          const heading = make("h2", "dp-section", SECTION_NAMES[section] || section[0].toUpperCase() + section.slice(1));
          heading.dataset.section = section;
          lanesBox.append(heading);
        }
        if (row.texts) rows.forEach(([index, each]) => addTrack(each, runs.length > 1 ? runs[index].title : ""));
        else addCurve(rows);
      }
      if (runs.some(run => run.sound)) lanesBox.append(make("h2", "dp-section", "Sound"));
      runs.forEach(run => run.sound && addSound(run));
      empty = make("p", "dp-empty", lanes.some(lane => lane.isRow) ? "" : "No schedule varies over the frames.");
      lanesBox.append(empty);
      element.append(body, footer());
      listen(body, scale);
      lanes.forEach(lane => seen.observe(lane.row));
      resize.observe(scale);
      search();
    }

    function header() {
      const head = make("header", "dp-head");
      const title = make("div", "dp-title");
      runs.forEach((run, index) => {
        const one = make("div", "dp-run");
        const name = make("h1", "", run.title || "Timeline");
        name.dir = "auto";
        if (runs.length > 1) name.prepend(swatch(index));
        const facts = [
          run.frames === 1 ? "1 frame" : `${run.frames} frames`, `${show(run.fps)} fps`, briefly(run.frames / run.fps),
          run.mode, run.size ? `${run.size[0]}×${run.size[1]}` : "",
          run.cadence > 1 ? `painted every ${run.cadence} frames` : "every frame painted",
          run.seed_drawn ? `seed drawn (shown: ${run.seed})` : `seed ${run.seed}`,
        ];
        const list = make("ul", "dp-facts");
        list.append(...facts.filter(Boolean).map(fact => make("li", "", fact)));
        one.append(name, list);
        title.append(one);
      });
      const tools = make("div", "dp-tools");
      const words = filter ? filter.value : "";
      filter = make("input", "dp-filter");
      filter.value = words;
      filter.type = "search";
      filter.placeholder = "Filter schedules";
      filter.setAttribute("aria-label", "Filter schedules");
      on(filter, "input", search);
      const button = (label, text, act, name) => {
        const made = make("button", `dp-button ${name}`, text);
        made.type = "button";
        made.title = label;
        made.setAttribute("aria-label", label);
        on(made, "click", act);
        return made;
      };
      const group = make("div", "dp-zoom");
      group.append(
        button("Zoom out (-)", "−", () => zoom(2), "dp-out"), button("Zoom in (+)", "+", () => zoom(0.5), "dp-in"),
        button("Show all frames (0)", "Fit", () => look(0, frames), "dp-fit"),
      );
      tools.append(filter, group);
      if (options.title === false) head.append(tools); else head.append(title, tools);
      return head;
    }

    function swatch(index) {
      const made = make("i", `dp-swatch dp-c-${HUES[index % HUES.length]}`);
      made.setAttribute("aria-hidden", "true");
      return made;
    }

    function footer() {
      const foot = make("footer", "dp-foot");
      const legend = make("p", "dp-legend");
      const beats = runs.some(run => run.sound?.beats.length) ? [["dp-mark-beat", "beat"]] : [];
      for (const [mark, text] of [["dp-mark-number", "keyframe"], ["dp-mark-expression", "keyframe with an expression"],
        ["dp-mark-painted", "painted frame"], ["dp-mark-cut", "a prompt begins"], ...beats]) {
        const item = make("span", "dp-item");
        item.append(make("i", mark), text);
        legend.append(item);
      }
      foot.append(legend);
      runs.forEach(run => {
        const name = runs.length > 1 ? `${run.title}: ` : "";
        if (run.steady.length) foot.append(steady(`${name}The same in every frame`, run.steady.map(
          ([what, value, unit]) => [what, typeof value === "number" ? show(value) : value, unit])));
        if (run.idle.length) foot.append(steady(`${name}Varies, without effect here`, run.idle.map(
          ([what, why]) => [what, why, ""])));
      });
      const keys = make("details", "dp-keys");
      keys.append(make("summary", "", "Keys and gestures"));
      const list = make("dl");
      for (const [key, what] of [["← →", "frame by frame; with Shift 10 frames"], ["Home End", "first, last frame"],
        ["[ ]", "previous, next keyframe"], [", .", "previous, next painted frame"],
        ["+ −", "zoom in, out at the cursor"], ["0", "all frames"], ["/", "filter"],
        ["drag", "zoom to the frames dragged over; double-click: all frames"],
        ["Ctrl + wheel, pinch", "zoom"], ["Shift + wheel, two fingers", "move along"]]) {
        list.append(make("dt", "", key), make("dd", "", what));
      }
      keys.append(list);
      foot.append(keys);
      return foot;
    }

    function steady(title, rows) {
      const box = make("details", "dp-steady");
      box.append(make("summary", "", `${title} (${rows.length})`));
      const list = make("dl");
      for (const [name, value, unit] of rows) {
        const term = make("dt", "", name), text = make("dd", "", value === "" ? "–" : String(value));
        text.dir = "auto";
        if (unit) text.append(make("small", "", ` ${unit}`));
        const pair = make("div");
        pair.append(term, text);
        list.append(pair);
      }
      box.append(list);
      return box;
    }

    /** Return the rows of all runs by name: [[index of the run, row]], in order. */
    function merged() {
      const rows = new Map();
      runs.forEach((run, index) => run.rows.forEach(row => {
        if (!rows.has(row.name)) rows.set(row.name, []);
        rows.get(row.name).push([index, row]);
      }));
      const sections = [...new Set(runs.flatMap(run => run.rows.map(row => row.section)))];
      return [...rows.values()].sort((a, b) => sections.indexOf(a[0][1].section) - sections.indexOf(b[0][1].section));
    }

    /** Add a lane: a label, and a place to draw in. `lane` has draw(), read(frame) and height(). */
    function addLane(name, unit, kind, lane) {
      const row = make("section", `dp-lane dp-${kind}`);
      row.dataset.name = name;
      row.setAttribute("aria-label", name);
      const label = make("div", "dp-label");
      const title = lane.details ? make("button", "dp-name", name) : make("span", "dp-name", name);
      title.dir = "auto";
      title.title = name;
      if (lane.details) {
        title.type = "button";
        title.setAttribute("aria-expanded", "false");
        on(title, "click", () => open(lane));
      }
      label.append(title, make("span", "dp-unit", unit));
      const place = make("div", "dp-place");
      const svg = lane.html ? null : draw(place, "svg", {height: lane.height()});
      row.append(label, place);
      lanesBox.append(row);
      Object.assign(lane, {name, row, label, place, svg, title, isSeen: false});
      lanes.push(lane);
      return lane;
    }

    function values(lane, count, indices = []) {
      const box = make("div", "dp-values");
      lane.outputs = Array.from({length: count}, (_, i) => {
        const one = make("span", "dp-value");
        if (runs.length > 1 && indices.length) one.append(swatch(indices[i]));
        const text = make("span");
        one.append(text);
        box.append(one);
        return text;
      });
      lane.label.append(box);
    }

    function open(lane) {
      const isOpen = !opened.has(lane.name);
      if (isOpen) opened.add(lane.name); else opened.delete(lane.name);
      expand(lane, isOpen);
      refresh();
    }

    function expand(lane, isOpen) {
      lane.row.classList.toggle("dp-is-open", isOpen);
      lane.title.setAttribute("aria-expanded", String(isOpen));
      lane.svg?.setAttribute("height", lane.height());
      lane.row.querySelector(".dp-details")?.remove();
      if (isOpen) lane.row.append(lane.details());
    }

    // --- lanes ---

    function addPrompts(run, suffix) {
      const {bands, blend} = run.prompts;
      const positive = unpack(run.prompts.positive), negative = unpack(run.prompts.negative);
      const textAt = (texts, frame) => texts[Math.max(lastAtMost(texts, frame, each => each[0]), 0)][1];
      const lane = addLane(suffix ? `prompt · ${suffix}` : "prompt", "", "prompts", {
        html: true,
        height: () => HEIGHT.prompts,
        details: () => promptList(run),
        draw() {
          const parts = [];
          let edge = -1;
          const from = Math.max(lastAtMost(bands, view[0], each => each[0]), 0);
          for (let i = from; i < bands.length && bands[i][0] < view[1]; i++) {
            const end = i + 1 < bands.length ? Math.min(bands[i + 1][0], run.frames) : run.frames;
            if (bands[i][0] >= run.frames) break;
            const left = Math.max(X(bands[i][0]), 0), right = Math.min(X(end), width);
            if (right - edge < 1.5 && i > from) continue;
            const [hue, next] = [HUES[i % HUES.length], HUES[(i + 1) % HUES.length]];
            const band = make("div", `dp-band dp-c-${hue}`);
            if (right - left < 8) band.classList.add("dp-is-thin");
            band.style.left = `${px(left)}px`;
            band.style.width = `${px(Math.max(right - left, 1.5))}px`;
            if (blend && i + 1 < bands.length) {
              band.classList.add("dp-blends");
              // The part in view of the blend over the whole band.
              const whole = X(bands[i + 1][0]) - X(bands[i][0]), start = X(bands[i][0]) - left;
              band.style.background = `linear-gradient(to right, var(--${hue}-tint) ${px(start)}px, `
                + `var(--${next}-tint) ${px(start + whole)}px)`;
            }
            if (right - left > 28) {
              const text = make("span", "dp-words", bands[i][1] || "(no prompt)");
              text.dir = "auto";
              band.append(text);
            }
            band.title = bands[i][2] ? `${bands[i][1]}\n− ${bands[i][2]}` : bands[i][1];
            band.dataset.first = bands[i][0];
            parts.push(band);
            edge = right;
          }
          lane.bar.replaceChildren(...parts);
        },
        read(frame) {
          frame = Math.min(frame, run.frames - 1);
          lane.words[0].textContent = textAt(positive, frame);
          lane.words[1].textContent = textAt(negative, frame);
        },
      });
      lane.bar = make("div", "dp-bar");
      const now = make("div", "dp-now");
      lane.title.title = "All prompts";
      lane.words = ["dp-positive", "dp-negative"].map(name => make("span", name));
      lane.words.forEach(each => { each.dir = "auto"; });
      now.append(...lane.words);
      lane.place.append(lane.bar, now);
      if (opened.has(lane.name)) expand(lane, true);
    }

    /** List all prompts with their keyframes, which move the cursor. */
    function promptList(run) {
      const list = make("ol", "dp-details dp-prompt-list");
      for (const [first, positive, negative] of run.prompts.bands) {
        const item = make("li"), at = make("button", "dp-jump", String(first));
        at.type = "button";
        at.disabled = first >= run.frames;
        on(at, "click", () => move(first));
        const words = [make("span", "dp-positive", positive), make("span", "dp-negative", negative)];
        words.forEach(each => { each.dir = "auto"; });
        item.append(at, make("span"));
        item.lastChild.append(...words);
        list.append(item);
      }
      return list;
    }

    /** Draw texts or numbers that are held, as coloured runs with their text where there is room. */
    function drawRuns(svg, list, count, height) {
      const paths = new Map(), labels = [];
      let i = Math.max(lastAtMost(list, view[0], each => each[0]), 0), edge = -1;
      while (i < list.length && list[i][0] < view[1]) {
        const end = i + 1 < list.length ? list[i + 1][0] : count;
        const left = Math.max(X(list[i][0]), 0), right = Math.min(X(end), width);
        if (right - edge >= 0.75) {
          const hue = HUES[list[i][2] % HUES.length];
          const gap = right - left > 6 ? 1 : 0;
          paths.set(hue, `${paths.get(hue) || ""}M${px(left)} 3H${px(Math.max(right - gap, left + 0.75))}V${height - 3}H${px(left)}z`);
          if (right - left > 24) labels.push([left, right - left, list[i][1]]);
          edge = right;
        }
        i++;
      }
      svg.replaceChildren();
      for (const [hue, d] of paths) draw(svg, "path", {d, class: `dp-run-fill dp-c-${hue}`});
      for (const [left, room, text] of labels) {
        const fits = Math.floor((room - 12) / 6.6);
        if (fits < Math.min(text.length, 3)) continue;
        write(svg, px(left + 6), height / 2 + 4, text.length > fits ? `${text.slice(0, Math.max(fits - 1, 1))}…` : text,
          {class: "dp-run-text"});
      }
    }

    function addHeld(name, kind, list, count, lane) {
      addLane(name, "", kind, Object.assign(lane, {
        height: () => HEIGHT.runs,
        draw: () => drawRuns(lane.svg, list, count, HEIGHT.runs),
        read(frame) {
          const found = list[Math.max(lastAtMost(list, Math.min(frame, count - 1), each => each[0]), 0)][1];
          lane.outputs[0].textContent = found === "" ? "–" : found;
          lane.outputs[0].parentElement.title = found;
        },
      }));
      values(lane, 1);
    }

    function addSeeds(run, suffix) {
      const list = [];
      const hues = new Map();
      run.painted.forEach((frame, i) => {
        const seed = run.seeds[i];
        if (list.length && list[list.length - 1][3] === seed) return;
        if (!hues.has(seed)) hues.set(seed, hues.size);
        const n = hues.get(seed);
        list.push([frame, String(seed), n + 3 * Math.floor(n / HUES.length), seed]); // the turn of hues has no period of 8
      });
      addHeld(suffix ? `seed · ${suffix}` : "seed", "seeds", list, run.frames, {});
    }

    function addTrack(row, suffix) {
      const list = unpack(row.texts).map(([start, text]) => [start, text, hash(text)]);
      const lane = {isRow: true, section: row.section, marks: []};
      addHeld(suffix ? `${row.name} · ${suffix}` : row.name, "track", list, runs[0].frames, lane);
      lane.title.title = row.help;
    }

    function addPainted(run, suffix) {
      const lane = addLane(suffix ? `painted · ${suffix}` : "painted", "", "painted", {
        height: () => HEIGHT.painted,
        draw() {
          lane.svg.replaceChildren();
          const middle = HEIGHT.painted / 2, step = perFrame() * run.cadence;
          const from = Math.max(lastAtMost(run.painted, view[0]), 0);
          if (step < 3) {
            const end = Math.min(X(run.frames), width);
            draw(lane.svg, "path", {class: "dp-painted-all", d: `M${px(Math.max(X(0), 0))} ${middle - 3}H${px(end)}v6H${px(Math.max(X(0), 0))}z`});
            return;
          }
          draw(lane.svg, "path", {class: "dp-painted-line", d: `M${px(Math.max(X(0), 0))} ${middle}H${px(Math.min(X(run.frames), width))}`});
          let d = "";
          const wide = clamp(perFrame() - 1, 1.5, 7), high = clamp(step, 6, 8);
          for (let i = from; i < run.painted.length && run.painted[i] < view[1]; i++) {
            d += `M${px(C(run.painted[i]) - wide / 2)} ${px(middle - high / 2)}h${px(wide)}v${px(high)}h${px(-wide)}z`;
          }
          draw(lane.svg, "path", {class: "dp-painted-mark", d});
        },
        read(frame) {
          const isPainted = run.painted[lastAtMost(run.painted, frame)] === frame;
          lane.outputs[0].textContent = frame >= run.frames ? "–" : isPainted ? "painted" : "in-between";
        },
      });
      values(lane, 1);
    }

    function addCurve(rows) {
      const [, first] = rows[0];
      const lane = {
        isRow: true,
        section: first.section,
        height: () => opened.has(first.name) ? HEIGHT.open : HEIGHT.curve,
        details: () => details(rows),
        load() {
          if (lane.curves) return;
          lane.curves = rows.map(([index, row]) => ({index, row, values: decode(row.values)}));
          lane.low = Infinity;
          lane.high = -Infinity;
          for (const {values: found} of lane.curves) for (const value of found) {
            if (value < lane.low) lane.low = value;
            if (value > lane.high) lane.high = value;
          }
        },
        draw() {
          lane.load();
          drawCurves(lane);
        },
        read(frame) {
          lane.load();
          lane.curves.forEach(({values: found, row}, i) => {
            const value = frame < found.length ? show(found[frame]) : "–";
            const mark = row.marks.length && row.marks[lastAtMost(row.marks, frame, each => each[0])]?.[0] === frame;
            lane.outputs[i].textContent = value;
            lane.outputs[i].parentElement.classList.toggle("dp-at-mark", Boolean(mark));
          });
          const [{values: found, index}] = lane.curves;
          const dot = lane.dot;
          if (!dot) return;
          const isIn = frame < found.length && frame + 0.5 >= view[0] && frame + 0.5 <= view[1];
          dot.setAttribute("visibility", isIn ? "visible" : "hidden");
          if (isIn) {
            dot.setAttribute("cx", px(C(frame)));
            dot.setAttribute("cy", px(lane.Y(found[frame])));
          }
        },
      };
      addLane(first.name, first.unit, "curve", lane);
      values(lane, rows.length, rows.map(([index]) => index));
      lane.axis = make("div", "dp-axis");
      lane.axis.setAttribute("aria-hidden", "true");
      lane.place.append(lane.axis);
      lane.row.classList.add(`dp-c-${hueOf(rows[0][0], first.section)}`);
      if (first.idle) {
        lane.row.classList.add("dp-is-idle");
        lane.label.querySelector(".dp-unit").textContent = `without effect: ${first.idle}`;
      }
      if (opened.has(first.name)) expand(lane, true);
    }

    function details(rows) {
      const box = make("div", "dp-details");
      box.append(make("p", "", rows[0][1].help));
      for (const [index, row] of rows) {
        const code = make("code", "", row.source);
        code.dir = "ltr";
        if (runs.length > 1) box.append(make("p", "dp-file", runs[index].title));
        box.append(code);
      }
      return box;
    }

    function drawCurves(lane) {
      const height = lane.height(), svg = lane.svg, isOpen = opened.has(lane.name);
      svg.replaceChildren();
      const [low, high] = isOpen ? rangeIn(lane) : [lane.low, lane.high], span = high - low;
      const Y = value => span ? PAD + (high - value) / span * (height - 2 * PAD) : height / 2;
      lane.Y = Y;
      drawGuides(svg, height);
      if (isOpen && span) {
        for (const tick of ticks(low, high, 5)) {
          draw(svg, "path", {class: "dp-grid", d: `M0 ${px(Y(tick))}H${px(width)}`});
        }
      }
      const base = low <= 0 && high >= 0 ? Y(0) : height - PAD / 2;
      if (low < 0 && high > 0) draw(svg, "path", {class: "dp-zero", d: `M0 ${px(Y(0))}H${px(width)}`});
      for (const {index, row, values: found} of lane.curves) {
        const hue = runs.length > 1 ? ` dp-c-${HUES[index % HUES.length]}` : "";
        const d = pathOf(found, Y);
        if (!d) continue;
        if (runs.length === 1) {
          const [x0] = d.slice(1).split(" "), x1 = d.slice(d.lastIndexOf("L") + 1).split(" ")[0];
          draw(svg, "path", {class: "dp-area", d: `${d}L${x1.replace("M", "")} ${px(base)}L${x0} ${px(base)}z`});
        }
        draw(svg, "path", {class: `dp-curve-line${hue}`, d});
        drawMarks(svg, row, found, Y, hue, runs[index]);
      }
      const marked = !span ? [low] : isOpen ? ticks(low, high, 5) : [high, low];
      lane.axis.replaceChildren(...marked.map(tick => {
        const label = make("span", "", brief(tick, span));
        label.style.top = `${px(clamp(Y(tick), 8, height - 8))}px`;
        return label;
      }));
      lane.dot = draw(svg, "circle", {class: "dp-dot", r: 4});
    }

    /** Return the least and the greatest value of the frames in view. */
    function rangeIn(lane) {
      let low = Infinity, high = -Infinity;
      for (const {values: found} of lane.curves) {
        for (let i = Math.max(Math.floor(view[0]), 0); i < Math.min(Math.ceil(view[1]), found.length); i++) {
          low = Math.min(low, found[i]);
          high = Math.max(high, found[i]);
        }
      }
      return low <= high ? [low, high] : [lane.low, lane.high];
    }

    /** Draw what runs through all lanes, from `top` down: where prompts begin, beats and bars. */
    function drawGuides(svg, height, top = 0) {
      const lines = (list, name, apart) => {
        let d = "", edge = -99;
        for (let i = Math.max(lastAtMost(list, view[0]), 0); i < list.length && list[i] < view[1]; i++) {
          const x = X(list[i]);
          if (x < 0 || x - edge < apart) continue;
          d += `M${px(x)} ${top}V${height}`;
          edge = x;
        }
        if (d) draw(svg, "path", {class: name, d});
      };
      for (const run of runs) {
        if (run.sound) {
          lines(run.sound.beats, "dp-beat", 4);
          lines(run.sound.bars, "dp-beat dp-bar-line", 4);
        }
        lines(cuts.get(run), "dp-cut", 8);
      }
    }

    /** Return the line through the values in view; where many share a pixel, it goes through their extremes. */
    function pathOf(found, Y) {
      const from = Math.max(Math.floor(view[0]) - 1, 0), to = Math.min(Math.ceil(view[1]) + 1, found.length);
      if (to <= from) return "";
      if (to - from === 1) return `M${px(X(from))} ${px(Y(found[from]))}L${px(X(to))} ${px(Y(found[from]))}`;
      const points = [];
      const point = i => points.push(`${px(C(i))} ${px(Y(found[i]))}`);
      const bin = 1 / perFrame();
      if (bin <= 2) for (let i = from; i < to; i++) point(i);
      else {
        point(from);
        for (let start = from + 1, n = 1; start < to - 1; n++) {
          const end = Math.min(Math.max(Math.floor(from + n * bin), start + 1), to - 1);
          let least = start, most = start;
          for (let i = start + 1; i < end; i++) {
            if (found[i] < found[least]) least = i;
            else if (found[i] > found[most]) most = i;
          }
          point(Math.min(least, most));
          if (least !== most) point(Math.max(least, most));
          start = end;
        }
        point(to - 1);
      }
      return `M${points.join("L")}`;
    }

    function drawMarks(svg, row, found, Y, hue, run) {
      if (perFrame() >= 9) { // every frame has room for its own point
        const plain = [], painted = [];
        for (let i = Math.max(Math.floor(view[0]), 0); i < Math.min(Math.ceil(view[1]), found.length); i++) {
          const isPainted = run.painted[lastAtMost(run.painted, i)] === i;
          (isPainted ? painted : plain).push(`M${px(C(i) - 2)} ${px(Y(found[i]))}a2 2 0 1 0 4 0a2 2 0 1 0 -4 0z`);
        }
        if (plain.length) draw(svg, "path", {class: `dp-point${hue}`, d: plain.join("")});
        if (painted.length) draw(svg, "path", {class: `dp-point-painted${hue}`, d: painted.join("")});
      }
      // Keyframes that crowd are drawn small.
      const d = {number: "", expression: "", small: ""};
      const from = Math.max(lastAtMost(row.marks, Math.floor(view[0]) - 0.5, each => each[0]), 0);
      let before = -99, drawn = -99;
      for (let i = from; i < row.marks.length; i++) {
        const [frame, , isExpression] = row.marks[i];
        if (frame >= view[1] || frame >= found.length) break;
        if (frame < Math.floor(view[0])) continue;
        const x = C(frame), y = Y(found[frame]), next = i + 1 < row.marks.length ? C(row.marks[i + 1][0]) : Infinity;
        const isCrowded = Math.min(x - before, next - x) < 10;
        before = x;
        if (x - drawn < 2) continue;
        drawn = x;
        if (isCrowded) d.small += `M${px(x)} ${px(y - 2.8)}l2.8 2.8l-2.8 2.8l-2.8 -2.8z`;
        else if (isExpression) d.expression += `M${px(x - 3.5)} ${px(y)}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z`;
        else d.number += `M${px(x)} ${px(y - 4.5)}l4.5 4.5l-4.5 4.5l-4.5 -4.5z`;
      }
      if (d.small) draw(svg, "path", {class: `dp-marks-small${hue}`, d: d.small});
      if (d.expression) draw(svg, "path", {class: `dp-marks dp-marks-expression${hue}`, d: d.expression});
      if (d.number) draw(svg, "path", {class: `dp-marks dp-marks-number${hue}`, d: d.number});
    }

    function addSound(run) {
      const {sound} = run, top = sound.sections.length ? 22 : 0, height = HEIGHT.sound + top;
      const sections = sound.sections.map(([first, name]) => [first, name, hash(name)]);
      const lane = {
        height: () => height,
        draw() {
          lane.low ??= decode(sound.low);
          lane.high ??= decode(sound.high);
          if (sections.length) drawRuns(lane.svg, sections, sound.last, 24); else lane.svg.replaceChildren();
          drawGuides(lane.svg, height, top);
          const middle = top + HEIGHT.sound / 2, scale = HEIGHT.sound / 2 - 4;
          const count = lane.low.length, per = (sound.last - sound.first) / count; // frames
          const from = clamp(Math.floor((view[0] - sound.first) / per) - 1, 0, count);
          const to = clamp(Math.ceil((view[1] - sound.first) / per) + 1, 0, count);
          const bin = Math.max(1, Math.floor((to - from) / Math.max(width, 1)));
          const over = [], under = [];
          for (let i = from - from % bin; i < to; i += bin) {
            let low = 1, high = -1;
            for (let j = i; j < Math.min(i + bin, to); j++) {
              low = Math.min(low, lane.low[j]);
              high = Math.max(high, lane.high[j]);
            }
            const x = px(X(sound.first + i * per));
            over.push(`${x} ${px(middle - high * scale)}`);
            under.push(`${x} ${px(middle - low * scale + 0.5)}`);
          }
          if (over.length) draw(lane.svg, "path", {class: "dp-wave", d: `M${over.join("L")}L${under.reverse().join("L")}z`});
        },
        read(frame) {
          const beat = lastAtMost(sound.beats, frame + 0.999), bar = lastAtMost(sound.bars, frame + 0.999);
          const part = sections[lastAtMost(sections, frame + 0.999, each => each[0])];
          lane.outputs[0].textContent = beat < 0 ? "" : `beat ${beat + 1}`;
          lane.outputs[0].parentElement.title = [part && `section ${part[1]}`, bar >= 0 && `bar ${bar + 1}`].filter(Boolean).join(", ");
        },
      };
      const words = sound.beats.length ? `${Number(sound.bpm.toPrecision(4))} bpm · ${sound.beats.length} beats` : "no beats";
      addLane(sound.name || "sound", words, "sound", lane);
      values(lane, 1);
    }

    // --- drawing ---

    function refresh() {
      if (pending) return;
      pending = true;
      requestAnimationFrame(() => {
        pending = false;
        paint();
      });
    }

    function paint() {
      if (!width) return;
      drawRuler();
      drawOverview();
      for (const lane of lanes) if (lane.isSeen && !lane.row.hidden) lane.draw();
      point();
    }

    function drawRuler() {
      ruler.replaceChildren();
      const [first, last] = [view[0], view[1]];
      const nice = niceStep((last - first) / Math.max(1, width / 84));
      let d = "", small = "";
      const minor = [nice / 10, nice / 5, nice / 2].find(each => each >= 1 && Number.isInteger(each) && each * perFrame() >= 7) || nice;
      for (let frame = Math.ceil((first - 0.5) / minor) * minor; frame < last; frame += minor) {
        const x = C(frame);
        if (x > width) break;
        if (frame % nice) small += `M${px(x)} 25V30`;
        else {
          d += `M${px(x)} 20V30`;
          if (x > width - 30) continue;
          write(ruler, px(x + 4), 14, String(frame), {class: "dp-frame"});
          if (perFrame() * nice > 74) {
            write(ruler, px(x + 4), 26, briefly(frame / runs[0].fps), {class: "dp-time"});
          }
        }
      }
      draw(ruler, "path", {class: "dp-ruler-small", d: small});
      draw(ruler, "path", {class: "dp-ruler-line", d});
    }

    function niceStep(rough) {
      const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
      return [1, 2, 5, 10].find(each => each * power >= rough) * power;
    }

    function drawOverview() {
      overview.replaceChildren();
      const at = frame => frame / frames * width;
      const [run] = runs;
      let edge = -1;
      run.prompts.bands.forEach(([first], i, bands) => {
        if (first >= run.frames) return;
        const end = i + 1 < bands.length ? Math.min(bands[i + 1][0], run.frames) : run.frames;
        if (at(end) - edge < 1) return;
        draw(overview, "rect", {class: `dp-overview-band dp-c-${HUES[i % HUES.length]}`, x: px(at(first)), y: 7, height: 6,
          width: px(Math.max(at(end) - at(first) - 0.5, 0.5))});
        edge = at(end);
      });
      const [left, right] = [at(view[0]), at(view[1])];
      draw(overview, "rect", {class: "dp-window", x: px(left + 0.5), y: 1.5, width: px(Math.max(right - left - 1, 3)), height: 17, rx: 4});
      draw(overview, "path", {class: "dp-overview-cursor", d: `M${px(at(cursor + 0.5))} 3V17`});
    }

    /** Show the cursor and what is read there. */
    function point() {
      const x = C(cursor), isIn = x >= 0 && x <= width;
      line.hidden = flag.hidden = !isIn;
      line.style.left = flag.style.left = `${px(x)}px`;
      const seconds = duration(cursor / runs[0].fps);
      const {painted} = runs[0];
      const isPainted = painted[lastAtMost(painted, cursor)] === cursor;
      flag.textContent = String(cursor);
      read.replaceChildren(make("span", "dp-read-frame", `Frame ${cursor}`), make("span", "dp-read-time", seconds));
      slider.setAttribute("aria-valuenow", String(cursor));
      slider.setAttribute("aria-valuetext", `frame ${cursor}, ${seconds}, ${isPainted ? "painted" : "in-between"}`);
      for (const lane of lanes) if (lane.isSeen && !lane.row.hidden) lane.read(cursor);
      const mark = overview.querySelector(".dp-overview-cursor");
      if (mark) mark.setAttribute("d", `M${px((cursor + 0.5) / frames * width)} 3V17`);
      showTip(x, isIn);
    }

    /** Show the value of the lane under the pointer, beside the cursor. */
    function showTip(x, isIn) {
      tip.hidden = !(isIn && hovered && hovered.curves && hovered.Y && !hovered.row.hidden);
      if (tip.hidden) return;
      const found = hovered.curves[0].values, shown = Math.min(cursor, found.length - 1);
      tip.textContent = hovered.curves.map(({values: each}) => cursor < each.length ? show(each[cursor]) : "–").join("  ");
      const top = hovered.place.getBoundingClientRect().top - lanesBox.getBoundingClientRect().top;
      tip.style.top = `${px(top + clamp(hovered.Y(found[shown]) - 11, 0, hovered.height() - 22))}px`;
      const isLeft = x > width - 90;
      tip.classList.toggle("dp-tip-left", isLeft);
      tip.style.left = `${px(x)}px`;
    }

    // --- moving ---

    function move(frame, {tell = true} = {}) {
      const to = clamp(Math.round(frame), 0, frames - 1), isNew = to !== cursor;
      cursor = to;
      if (isNew && tell && options.onCursor) options.onCursor(cursor);
      const length = view[1] - view[0];
      if (cursor + 0.5 < view[0] || cursor + 0.5 > view[1]) {
        const start = cursor < view[0] ? cursor - length * 0.1 : cursor + 1 - length * 0.9;
        look(start, start + length);
      } else point();
    }

    function look(first, last) {
      const length = clamp(last - first, Math.min(LEAST_VIEW, frames), frames);
      const start = clamp(first + (last - first - length) / 2, 0, frames - length);
      view = [start, start + length];
      element.classList.toggle("dp-is-zoomed", length < frames);
      refresh();
    }

    /** Change the length of the view by a factor; the frame at `x` px stays where it is. */
    function zoom(factor, x = null) {
      const isIn = cursor + 0.5 > view[0] && cursor + 0.5 < view[1];
      const still = x === null ? (isIn ? cursor + 0.5 : (view[0] + view[1]) / 2) : frameAt(x);
      const length = clamp((view[1] - view[0]) * factor, Math.min(LEAST_VIEW, frames), frames);
      const share = (still - view[0]) / (view[1] - view[0]);
      look(still - share * length, still + (1 - share) * length);
    }

    const pan = by => look(view[0] + by, view[1] + by);
    const frameAt = x => view[0] + x / width * (view[1] - view[0]);

    function search() {
      const words = filter.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
      const sections = new Map();
      let shown = 0;
      for (const lane of lanes) {
        if (!lane.isRow) continue;
        const text = `${lane.name} ${lane.section}`.toLowerCase();
        lane.row.hidden = !words.every(word => text.includes(word));
        if (!lane.row.hidden) shown++;
        sections.set(lane.section, sections.get(lane.section) || !lane.row.hidden);
      }
      for (const heading of lanesBox.querySelectorAll(".dp-section")) {
        heading.hidden = heading.dataset.section !== undefined && !sections.get(heading.dataset.section);
      }
      if (words.length) empty.textContent = shown ? "" : "No schedule has these words in its name.";
      else if (lanes.some(lane => lane.isRow)) empty.textContent = "";
      refresh();
    }

    /** Go to the nearest keyframe of the lanes that are shown, or of the prompts, before or after the cursor. */
    function jump(direction) {
      const found = [];
      for (const run of runs) found.push(...run.prompts.bands.map(band => band[0]).filter(frame => frame < run.frames));
      const names = new Set(lanes.filter(lane => lane.isRow && !lane.row.hidden).map(lane => lane.name));
      for (const run of runs) for (const row of run.rows) {
        if (row.marks && names.has(row.name)) found.push(...row.marks.map(mark => mark[0]));
      }
      step(found, direction);
    }

    function step(list, direction) {
      const there = list.filter(frame => direction > 0 ? frame > cursor : frame < cursor);
      if (there.length) move(there.reduce((a, b) => direction > 0 ? Math.min(a, b) : Math.max(a, b)));
    }

    const KEYS = {
      ArrowLeft: event => move(cursor - (event.shiftKey ? 10 : 1)),
      ArrowRight: event => move(cursor + (event.shiftKey ? 10 : 1)),
      Home: () => move(0),
      End: () => move(frames - 1),
      ",": () => step(runs[0].painted, -1),
      ".": () => step(runs[0].painted, 1),
      "[": () => jump(-1),
      "]": () => jump(1),
      "+": () => zoom(0.5),
      "=": () => zoom(0.5),
      "-": () => zoom(2),
      0: () => look(0, frames),
      "/": () => filter.focus(),
    };

    function press(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      const {target} = event;
      if (target instanceof Element && target.closest("input,textarea,select,[contenteditable]")) {
        if (target === filter && event.key === "Escape") {
          filter.value = "";
          search();
          slider.focus();
        }
        return;
      }
      const act = Object.hasOwn(KEYS, event.key) && KEYS[event.key];
      if (!act) return;
      event.preventDefault();
      hovered = null;
      act(event);
    }

    function listen(body, scale) {
      const xOf = event => event.clientX - scale.getBoundingClientRect().left;
      const isPlot = event => event.target instanceof Element && event.target.closest(".dp-place,.dp-ruler,.dp-slider");
      const isText = event => event.target.closest(".dp-now") !== null; // that can be selected
      const fingers = new Map();
      let dragged = null, pinch = null;

      on(body, "pointermove", event => {
        if (fingers.has(event.pointerId)) fingers.set(event.pointerId, xOf(event));
        if (fingers.size === 2) {
          const [a, b] = [...fingers.values()];
          const length = pinch.length * pinch.apart / Math.max(Math.abs(a - b), 12);
          const start = pinch.frame - (a + b) / 2 / width * length;
          look(start, start + length);
          return;
        }
        const x = xOf(event);
        if (dragged !== null) {
          const [left, right] = [Math.min(dragged, x), Math.max(dragged, x)].map(each => clamp(each, 0, width));
          selection.hidden = right - left < 5;
          selection.style.left = `${px(left)}px`;
          selection.style.width = `${px(right - left)}px`;
        }
        if (!fingers.has(event.pointerId) && event.pointerType === "touch") return;
        if (x < 0 || x > width || (dragged === null && !isPlot(event))) {
          if (hovered) { hovered = null; tip.hidden = true; }
          return;
        }
        const row = event.target instanceof Element && event.target.closest(".dp-lane");
        hovered = lanes.find(lane => lane.row === row) || null;
        move(Math.floor(frameAt(x)));
      });
      on(body, "pointerdown", event => {
        if (!isPlot(event) || isText(event) || (event.pointerType === "mouse" && event.button !== 0)) return;
        const x = xOf(event);
        if (event.pointerType === "touch") {
          fingers.set(event.pointerId, x);
          if (fingers.size === 2) {
            const [a, b] = [...fingers.values()];
            pinch = {apart: Math.max(Math.abs(a - b), 12), length: view[1] - view[0], frame: frameAt((a + b) / 2)};
            return;
          }
        } else dragged = x;
        move(Math.floor(frameAt(clamp(x, 0, width - 0.01))));
      });
      const end = event => {
        const wasFinger = fingers.delete(event.pointerId);
        if (dragged === null && !wasFinger) return;
        const x = clamp(xOf(event), 0, width);
        if (dragged !== null && Math.abs(x - dragged) >= 5 && event.type === "pointerup") {
          look(frameAt(Math.min(x, dragged)), frameAt(Math.max(x, dragged)));
        } else if (event.type === "pointerup" && !fingers.size && options.onSelect) options.onSelect(cursor);
        dragged = null;
        selection.hidden = true;
      };
      on(window, "pointerup", end);
      on(window, "pointercancel", end);
      on(body, "pointerleave", () => { hovered = null; tip.hidden = true; });
      on(body, "dblclick", event => { if (isPlot(event)) look(0, frames); });
      on(body, "wheel", event => {
        if (!(event.target instanceof Element) || !event.target.closest(".dp-place,.dp-scale")) return;
        const isZoom = event.ctrlKey || event.metaKey || event.target.closest(".dp-scale");
        const by = event.shiftKey && !event.deltaX ? event.deltaY : event.deltaX;
        if (isZoom && event.deltaY) {
          event.preventDefault();
          zoom(1.0025 ** clamp(event.deltaY, -240, 240), clamp(xOf(event), 0, width));
        } else if (Math.abs(by) > Math.abs(event.shiftKey ? 0 : event.deltaY) && view[1] - view[0] < frames) {
          event.preventDefault();
          pan(by / perFrame());
        }
      }, {passive: false});

      // The overview: its window is dragged as a whole, or by an edge; elsewhere a click centres the view.
      let grip = null;
      on(overview, "pointerdown", event => {
        const at = xOf(event) / width * frames, near = 8 / width * frames;
        const edge = view[1] - view[0] < frames && Math.abs(at - view[0]) < near ? 0
          : view[1] - view[0] < frames && Math.abs(at - view[1]) < near ? 1 : null;
        if (edge === null && (at < view[0] || at > view[1])) pan(at - (view[0] + view[1]) / 2);
        grip = {edge, at, view: [...view]};
        overview.setPointerCapture(event.pointerId);
        event.stopPropagation();
      });
      on(overview, "pointermove", event => {
        if (!grip) return;
        const by = xOf(event) / width * frames - grip.at, [first, last] = grip.view;
        if (grip.edge === 0) look(clamp(first + by, 0, last - LEAST_VIEW), last);
        else if (grip.edge === 1) look(first, clamp(last + by, first + LEAST_VIEW, frames));
        else look(first + by, last + by);
      });
      for (const kind of ["pointerup", "pointercancel"]) on(overview, kind, () => { grip = null; });
    }

    // --- life ---

    const seen = new IntersectionObserver(entries => {
      let isMore = false;
      for (const entry of entries) {
        const lane = lanes.find(each => each.row === entry.target);
        if (!lane) continue;
        isMore ||= entry.isIntersecting && !lane.isSeen;
        lane.isSeen = entry.isIntersecting;
      }
      if (isMore) refresh();
    }, {rootMargin: "300px 0px"});
    const resize = new ResizeObserver(entries => {
      const found = entries[entries.length - 1].contentRect.width;
      if (!found || found === width) return;
      width = found;
      refresh();
    });

    function setData(given) {
      const before = frames, isAll = view[0] === 0 && view[1] === before;
      runs = Array.isArray(given) ? given : [given];
      frames = Math.max(...runs.map(run => run.frames));
      cursor = clamp(cursor, 0, frames - 1);
      cuts.clear();
      for (const run of runs) cuts.set(run, run.prompts.bands.slice(1).map(band => band[0]).filter(each => each < run.frames));
      build();
      if (isAll || before === 1) look(0, frames); else look(view[0], view[1]);
    }

    (options.keyboard === "page" ? document : element).addEventListener("keydown", press, {signal: alive.signal});
    setData(data);
    return {
      setCursor: frame => { hovered = null; move(frame, {tell: false}); },
      setView: (first = 0, last = frames - 1) => look(first, last + 1),
      setData,
      state: () => ({cursor, first: view[0], last: view[1] - 1}),
      destroy() {
        alive.abort();
        drawn.abort();
        seen.disconnect();
        resize.disconnect();
        element.replaceChildren();
      },
    };
  }

  globalThis.drawPlot = drawPlot;
})();
