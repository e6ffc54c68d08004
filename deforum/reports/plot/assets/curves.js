/* The lane of a schedule of numbers: of one run, or those of several laid over each other. */

const PAD = 8; // px above and below a curve
const MOST_UPS = 8; // px up and down for each px along: a denser curve is drawn without the area beneath it
const CROWDED = 10; // px: keyframes that are nearer to each other are drawn small

class CurveLane extends Lane {
  /** `rows` are [[index of the run, row]]. */
  constructor(plot, rows) {
    const [[run, first]] = rows;
    super(plot, "curve", first.name, {unit: first.idle ? `without effect: ${first.idle}` : first.unit});
    this.rows = rows;
    this.section = first.section;
    this.keyframes = rows.map(([, row]) => unpackMarks(row.marks));
    this.marks = this.keyframes.flat().map(start);
    this.row.classList.add(plot.isSeveral ? hueClass(run) : `dp-c-${SECTIONS[first.section] || "blue"}`);
    if (first.idle) this.row.classList.add("dp-is-idle");
    this.addSvg();
    this.addValues(rows.map(start));
    this.axis = make("div", "dp-axis");
    this.axis.setAttribute("aria-hidden", "true");
    this.place.append(this.axis);
    this.addOpening();
  }

  get height() { return this.isOpen ? 190 : 60; }
  get showsRuns() { return this.plot.isSeveral; }

  /** Return the class of the colour of a run; "" for that of the lane. */
  hue(run) { return this.plot.isSeveral ? ` ${hueClass(run)}` : ""; }

  /** The curves, decoded when they are first seen: [{run, marks, values}]. */
  get curves() {
    const read = ([run, row], i) => ({run, marks: this.keyframes[i], values: decode(row.values)});
    return this.decoded ??= this.rows.map(read);
  }

  /** The least and the greatest value; of an open lane, those of the frames in view. */
  get range() {
    const [from, to] = this.isOpen ? [Math.floor(this.view.first), Math.ceil(this.view.last)] : [0, Infinity];
    if (!this.isOpen && this.whole) return this.whole;
    let low = Infinity, high = -Infinity;
    for (const {values} of this.curves) {
      for (let i = Math.max(from, 0); i < Math.min(to, values.length); i++) {
        if (values[i] < low) low = values[i];
        if (values[i] > high) high = values[i];
      }
    }
    const found = low <= high ? [low, high] : [0, 0];
    if (!this.isOpen) this.whole = found;
    return found;
  }

  draw() {
    const {svg, view, height} = this, [low, high] = this.range, span = high - low;
    this.y = value => span ? PAD + (high - value) / span * (height - 2 * PAD) : height / 2;
    svg.replaceChildren();
    drawGuides(svg, this.plot, height);
    const level = value => `M0 ${px(this.y(value))}H${px(view.width)}`;
    const marked = !span ? [low] : this.isOpen ? ticks(low, high, 5) : [high, low];
    if (this.isOpen) drawPath(svg, "dp-grid", marked.map(level).join(""));
    if (low < 0 && high > 0) drawPath(svg, "dp-zero", level(0));
    const base = low <= 0 && high >= 0 ? this.y(0) : height - PAD / 2;
    for (const curve of this.curves) this.drawCurve(curve, base);
    this.axis.replaceChildren(...marked.map(value => {
      const label = make("span", "", brief(value, span));
      label.style.top = `${px(clamp(this.y(value), 8, height - 8))}px`;
      return label;
    }));
    this.dots = this.curves.map(({run}) => draw(svg, "circle", {class: `dp-dot${this.hue(run)}`, r: 4}));
  }

  drawCurve({run, marks, values}, base) {
    const hue = this.hue(run), points = this.points(values);
    if (!points.length) return;
    const d = `M${points.join("L")}`, x = point => point.split(" ")[0];
    if (!this.plot.isSeveral && ups(points) < MOST_UPS * this.view.width) {
      drawPath(this.svg, "dp-area", `${d}L${x(points[points.length - 1])} ${px(base)}L${x(points[0])} ${px(base)}z`);
    }
    drawPath(this.svg, `dp-curve-line${hue}`, d);
    if (this.view.step >= 9) this.drawPoints(values, this.plot.runs[run].painted, hue);
    this.drawMarks(marks, values, hue);
  }

  /** Return the points of a line through the values in view; where many share a px, it goes through their extremes. */
  points(values) {
    const {view} = this, [from, to] = view.around(values.length), bin = 1 / view.step, found = [];
    const add = i => found.push(`${px(view.centre(i))} ${px(this.y(values[i]))}`);
    if (values.length === 1) return [0, 1].map(i => `${px(view.x(i))} ${px(this.y(values[0]))}`);
    if (to <= from) return found;
    if (bin <= 2) {
      for (let i = from; i < to; i++) add(i);
      return found;
    }
    add(from);
    for (let begin = from + 1, n = 1; begin < to - 1; n++) {
      const end = Math.min(Math.max(Math.floor(from + n * bin), begin + 1), to - 1);
      let least = begin, most = begin;
      for (let i = begin + 1; i < end; i++) {
        if (values[i] < values[least]) least = i;
        else if (values[i] > values[most]) most = i;
      }
      add(Math.min(least, most));
      if (least !== most) add(Math.max(least, most));
      begin = end;
    }
    add(to - 1);
    return found;
  }

  /** Draw a point for every frame, where there is room. */
  drawPoints(values, painted, hue) {
    const paths = {"dp-point": "", "dp-point-painted": ""}, [from, to] = this.view.around(values.length);
    for (let i = from; i < to; i++) {
      const name = isPainted(painted, i) ? "dp-point-painted" : "dp-point";
      paths[name] += circle(this.view.centre(i), this.y(values[i]), 2);
    }
    for (const [name, d] of Object.entries(paths)) drawPath(this.svg, name + hue, d);
  }

  /** Draw keyframes: diamonds for numbers, circles for expressions. */
  drawMarks(marks, values, hue) {
    const {view} = this, paths = {small: "", expression: "", number: ""};
    let before = -99, drawn = -99;
    for (let i = Math.max(lastAtMost(marks, Math.floor(view.first) - 0.5, start), 0); i < marks.length; i++) {
      const [frame, isExpression] = marks[i];
      if (frame >= view.last || frame >= values.length) break;
      if (frame < Math.floor(view.first)) continue;
      const x = view.centre(frame), y = this.y(values[frame]);
      const next = i + 1 < marks.length ? view.centre(marks[i + 1][0]) : Infinity;
      const isCrowded = Math.min(x - before, next - x) < CROWDED;
      before = x;
      if (x - drawn < 2) continue;
      drawn = x;
      if (isCrowded) paths.small += diamond(x, y, 2.8);
      else if (isExpression) paths.expression += circle(x, y, 3.5);
      else paths.number += diamond(x, y, 4.5);
    }
    for (const [kind, d] of Object.entries(paths)) drawPath(this.svg, `dp-marks dp-marks-${kind}${hue}`, d);
  }

  read(frame) {
    this.curves.forEach(({values, marks}, i) => {
      const text = this.values[i], mark = marks[lastAtMost(marks, frame, start)];
      text.textContent = frame < values.length ? show(values[frame]) : "–";
      text.parentElement.classList.toggle("dp-at-mark", mark !== undefined && mark[0] === frame);
    });
    this.dots?.forEach((dot, i) => {
      const {values} = this.curves[i], isIn = frame < values.length && this.view.has(frame);
      dot.setAttribute("visibility", isIn ? "visible" : "hidden");
      if (!isIn) return;
      dot.setAttribute("cx", px(this.view.centre(frame)));
      dot.setAttribute("cy", px(this.y(values[frame])));
    });
  }

  details() {
    const box = make("div", "dp-details");
    box.append(make("p", "", this.rows[0][1].help));
    for (const [run, row] of this.rows) {
      if (this.plot.isSeveral) box.append(makeText("p", "dp-file", this.plot.runs[run].title));
      const code = make("code", "", row.source);
      code.dir = "ltr";
      box.append(code);
    }
    return box;
  }
}

/** Return how far a line goes up and down, in px. */
function ups(points) {
  let sum = 0, before = null;
  for (const point of points) {
    const y = Number(point.slice(point.indexOf(" ") + 1));
    if (before !== null) sum += Math.abs(y - before);
    before = y;
  }
  return sum;
}

const circle = (x, y, r) => `M${px(x - r)} ${px(y)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`;
const diamond = (x, y, r) => `M${px(x)} ${px(y - r)}l${r} ${r}l${-r} ${r}l${-r} ${-r}z`;

/** Draw what runs through all lanes, from `top` down: where prompts begin, beats and bars. */
function drawGuides(svg, {view, runs, cuts}, height, top = 0) {
  const lines = (places, name, apart) => {
    let d = "", edge = -99;
    for (let i = Math.max(lastAtMost(places, view.first), 0); i < places.length && places[i] < view.last; i++) {
      const x = view.x(places[i]);
      if (x < 0 || x - edge < apart) continue;
      d += `M${px(x)} ${top}V${height}`;
      edge = x;
    }
    drawPath(svg, name, d);
  };
  for (const run of runs) {
    if (run.sound) {
      lines(run.sound.beats, "dp-beat", 4);
      lines(run.sound.bars, "dp-beat dp-bar-line", 4);
    }
    lines(cuts.get(run), "dp-cut", 8);
  }
}
