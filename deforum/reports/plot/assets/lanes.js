/* Lanes: a label, and a place to draw in. A lane draws what is in view, and reads its value at the cursor. */

class Lane {
  /** `suffix` is the title of the run where there are several. */
  constructor(plot, kind, name, {suffix = "", unit = ""} = {}) {
    this.plot = plot;
    this.name = suffix ? `${name} · ${suffix}` : name;
    this.isSeen = false;
    this.row = make("section", `dp-lane dp-${kind}`);
    this.row.dataset.name = this.name;
    this.row.setAttribute("aria-label", this.name);
    this.label = make("div", "dp-label");
    this.title = makeText("span", "dp-name", this.name);
    this.title.title = this.name;
    this.unit = make("span", "dp-unit", unit);
    this.label.append(this.title, this.unit);
    this.place = make("div", "dp-place");
    this.row.append(this.label, this.place);
  }

  get view() { return this.plot.view; }
  get isOpen() { return this.plot.opened.has(this.name); }
  get height() { return 24; }

  /** Draw what is in view. */
  draw() {}
  /** Show the value at a frame. */
  read() {}
  /** Return the element that an open lane shows beneath. */
  details() { return make("div"); }

  addSvg() {
    this.svg = draw(this.place, "svg", {height: this.height});
  }

  /** Add places for values, one for each run of `runs`. */
  addValues(runs = [0]) {
    const box = make("div", "dp-values");
    this.values = runs.map(run => {
      const value = make("span", "dp-value"), text = make("span");
      if (this.showsRuns) {
        value.append(makeSwatch(run));
        value.classList.add(hueClass(run));
      }
      value.append(text);
      box.append(value);
      return text;
    });
    this.label.append(box);
  }

  /** Make the name a button that opens the lane. */
  addOpening() {
    const button = makeButton("dp-name", this.name, () => {
      if (this.isOpen) this.plot.opened.delete(this.name); else this.plot.opened.add(this.name);
      this.expand();
      this.plot.refresh();
    });
    button.dir = "auto";
    button.title = this.title.title;
    this.title.replaceWith(button);
    this.title = button;
    this.expand();
  }

  expand() {
    this.row.classList.toggle("dp-is-open", this.isOpen);
    this.title.setAttribute("aria-expanded", String(this.isOpen));
    this.svg?.setAttribute("height", this.height);
    this.row.querySelector(".dp-details")?.remove();
    if (this.isOpen) this.row.append(this.details());
  }
}

class PromptLane extends Lane {
  constructor(plot, run, suffix) {
    super(plot, "prompts", "prompt", {suffix});
    this.run = run;
    this.positive = unpack(run.prompts.positive);
    this.negative = unpack(run.prompts.negative);
    this.bar = make("div", "dp-bar");
    const now = make("div", "dp-now");
    this.words = [makeText("span", "dp-positive"), makeText("span", "dp-negative")];
    now.append(...this.words);
    this.place.append(this.bar, now);
    this.addOpening();
    this.title.title = "All prompts";
  }

  draw() {
    const {view, run} = this, {bands} = run.prompts, shown = [], from = runAt(bands, view.first);
    let edge = -1;
    for (let i = from; i < bands.length && bands[i][0] < Math.min(view.last, run.frames); i++) {
      const end = i + 1 < bands.length ? Math.min(bands[i + 1][0], run.frames) : run.frames;
      const left = Math.max(view.x(bands[i][0]), 0), right = Math.min(view.x(end), view.width);
      if (right - edge < 1.5 && i > from) continue;
      shown.push(this.band(i, left, right));
      edge = right;
    }
    this.bar.replaceChildren(...shown);
  }

  band(i, left, right) {
    const {bands, blend} = this.run.prompts, [first, positive, negative] = bands[i];
    const band = make("div", `dp-band ${hueClass(i)}`);
    band.dataset.first = first;
    band.title = negative ? `${positive}\n− ${negative}` : positive;
    band.style.left = `${px(left)}px`;
    band.style.width = `${px(Math.max(right - left, 1.5))}px`;
    if (right - left < 8) band.classList.add("dp-is-thin");
    if (right - left > 28) band.append(makeText("span", "dp-words", positive || "(no prompt)"));
    if (blend && i + 1 < bands.length) {
      // The part in view of the blend over the whole band.
      const begin = this.view.x(first) - left, end = this.view.x(bands[i + 1][0]) - left;
      const [hue, next] = [HUES[i % HUES.length], HUES[(i + 1) % HUES.length]];
      const stops = `var(--${hue}-tint) ${px(begin)}px, var(--${next}-tint) ${px(end)}px`;
      band.style.background = `linear-gradient(to right, ${stops})`;
    }
    return band;
  }

  read(frame) {
    const at = Math.min(frame, this.run.frames - 1);
    [this.positive, this.negative].forEach((texts, i) => { this.words[i].textContent = texts[runAt(texts, at)][1]; });
  }

  /** List all prompts with their keyframes, which move the cursor. */
  details() {
    const list = make("ol", "dp-details dp-prompt-list");
    for (const [first, positive, negative] of this.run.prompts.bands) {
      const item = make("li"), words = make("span");
      const at = makeButton("dp-jump", String(first), () => this.plot.move(first));
      at.disabled = first >= this.run.frames;
      words.append(makeText("span", "dp-positive", positive), makeText("span", "dp-negative", negative));
      item.append(at, words);
      list.append(item);
    }
    return list;
  }
}

/** Draw values that are held, as coloured runs with their text where there is room: [[first frame, text, colour]]. */
function drawRuns(svg, view, runs, end) {
  const shapes = new Map(), texts = [];
  let edge = -1;
  for (let i = runAt(runs, view.first); i < runs.length && runs[i][0] < view.last; i++) {
    const following = i + 1 < runs.length ? runs[i + 1][0] : end;
    const left = Math.max(view.x(runs[i][0]), 0), right = Math.min(view.x(following), view.width);
    if (right - edge < 0.75) continue;
    const name = hueClass(runs[i][2]), gap = right - left > 6 ? 1 : 0;
    const shape = `M${px(left)} 3H${px(Math.max(right - gap, left + 0.75))}V21H${px(left)}z`;
    shapes.set(name, (shapes.get(name) || "") + shape);
    const fits = Math.floor((right - left - 12) / 6.6), [, text] = runs[i];
    if (right - left > 24 && fits >= Math.min(text.length, 3)) {
      texts.push([left + 6, text.length > fits ? `${text.slice(0, Math.max(fits - 1, 1))}…` : text]);
    }
    edge = right;
  }
  svg.replaceChildren();
  for (const [name, d] of shapes) drawPath(svg, `dp-run-fill ${name}`, d);
  for (const [x, text] of texts) write(svg, x, 16, text, "dp-run-text");
}

/** A text or a number that is held from frame to frame. */
class HeldLane extends Lane {
  constructor(plot, kind, name, runs, frames, options) {
    super(plot, kind, name, options);
    this.runs = runs;
    this.frames = frames;
    this.addSvg();
    this.addValues();
  }

  draw() { drawRuns(this.svg, this.view, this.runs, this.frames); }

  read(frame) {
    const text = this.runs[runAt(this.runs, Math.min(frame, this.frames - 1))][1];
    this.values[0].textContent = text === "" ? "–" : text;
    this.values[0].parentElement.title = text;
  }
}

function makeSeedLane(plot, run, suffix) {
  const numbers = new Map(), runs = [];
  run.painted.forEach((frame, i) => {
    const seed = run.seeds[i];
    if (i && run.seeds[i - 1] === seed) return;
    if (!numbers.has(seed)) numbers.set(seed, numbers.size);
    const n = numbers.get(seed);
    // So that no hue returns at a regular distance.
    runs.push([frame, String(seed), n + 3 * Math.floor(n / HUES.length)]);
  });
  return new HeldLane(plot, "seeds", "seed", runs, run.frames, {suffix});
}

/** A schedule of texts: sampler, checkpoint, mask. */
class TrackLane extends HeldLane {
  constructor(plot, row, run, suffix) {
    const runs = unpack(row.texts).map(([first, text]) => [first, text, hash(text)]);
    super(plot, "track", row.name, runs, run.frames, {suffix});
    this.section = row.section;
    this.marks = [];
    this.title.title = row.help;
  }
}

class PaintedLane extends Lane {
  constructor(plot, run, suffix) {
    super(plot, "painted", "painted", {suffix});
    this.run = run;
    this.addSvg();
    this.addValues();
  }

  get height() { return 20; }

  draw() {
    const {view, svg, run: {painted, frames}} = this, middle = 10, apart = view.step * frames / painted.length;
    const left = Math.max(view.x(0), 0), right = Math.min(view.x(frames), view.width);
    svg.replaceChildren();
    if (apart < 3) {
      drawPath(svg, "dp-painted-all", `M${px(left)} ${middle - 3}H${px(right)}v6H${px(left)}z`);
      return;
    }
    drawPath(svg, "dp-painted-line", `M${px(left)} ${middle}H${px(right)}`);
    const wide = px(clamp(view.step - 1, 1.5, 7)), high = px(clamp(apart, 6, 8));
    let d = "";
    for (let i = Math.max(lastAtMost(painted, view.first), 0); i < painted.length && painted[i] < view.last; i++) {
      d += `M${px(view.centre(painted[i]) - wide / 2)} ${px(middle - high / 2)}h${wide}v${high}h${-wide}z`;
    }
    drawPath(svg, "dp-painted-mark", d);
  }

  read(frame) {
    const {painted, frames} = this.run;
    this.values[0].textContent = frame >= frames ? "–" : isPainted(painted, frame) ? "painted" : "in-between";
  }
}

const isPainted = (painted, frame) => painted[lastAtMost(painted, frame)] === frame;
