/* What stands above the lanes: the overview, the ruler, and the cursor's frame. */

const OVERVIEW = 20, RULER = 30; // px high

class Scale {
  constructor(plot) {
    this.plot = plot;
    this.element = make("div", "dp-top");
    this.read = make("div", "dp-read");
    this.place = make("div", "dp-scale");
    this.overview = draw(this.place, "svg", {class: "dp-overview", height: OVERVIEW});
    this.ruler = draw(this.place, "svg", {class: "dp-ruler", height: RULER});
    this.flag = make("div", "dp-flag");
    this.slider = make("div", "dp-slider");
    this.slider.tabIndex = 0;
    this.say({role: "slider", "aria-label": "Frame", "aria-valuemin": 0, "aria-valuemax": plot.view.frames - 1});
    this.slider.append(this.flag);
    this.place.append(this.slider);
    this.element.append(this.read, this.place);
  }

  say(attributes) {
    for (const [name, value] of Object.entries(attributes)) this.slider.setAttribute(name, String(value));
  }

  draw() {
    this.drawRuler();
    this.drawOverview();
  }

  drawRuler() {
    const {view, runs} = this.plot, step = niceStep(Math.max(view.length / Math.max(1, view.width / 84), 1));
    const fits = each => Number.isInteger(each) && each * view.step >= 7;
    const minor = [step / 10, step / 5, step / 2].find(fits) || step;
    let large = "", small = "";
    this.ruler.replaceChildren();
    for (let frame = Math.ceil((view.first - 0.5) / minor) * minor; frame < view.last; frame += minor) {
      const x = view.centre(frame);
      if (x > view.width) break;
      if (frame % step) small += `M${px(x)} 25V${RULER}`; else large += `M${px(x)} 20V${RULER}`;
      if (frame % step || x > view.width - 30) continue;
      write(this.ruler, x + 4, 14, String(frame), "dp-frame");
      if (view.step * step > 74) write(this.ruler, x + 4, 26, briefly(frame / runs[0].fps), "dp-time");
    }
    drawPath(this.ruler, "dp-ruler-small", small);
    drawPath(this.ruler, "dp-ruler-line", large);
  }

  drawOverview() {
    const {view, runs: [run]} = this.plot, {bands} = run.prompts, at = frame => frame / view.frames * view.width;
    let edge = -1;
    this.overview.replaceChildren();
    bands.forEach(([first], i) => {
      const end = i + 1 < bands.length ? bands[i + 1][0] : run.frames;
      const left = at(first), right = at(Math.min(end, run.frames));
      if (first >= run.frames || right - edge < 1) return;
      const width = px(Math.max(right - left - 0.5, 0.5));
      draw(this.overview, "rect", {class: `dp-overview-band ${hueClass(i)}`, x: px(left), y: 7, width, height: 6});
      edge = right;
    });
    const left = at(view.first), width = px(Math.max(at(view.last) - left - 1, 3));
    draw(this.overview, "rect", {class: "dp-window", x: px(left + 0.5), y: 1.5, width, height: 17, rx: 4});
    this.mark = draw(this.overview, "path", {class: "dp-overview-cursor"});
  }

  /** Show the frame of the cursor. */
  point(frame) {
    const {view, runs: [run]} = this.plot, seconds = duration(frame / run.fps);
    const what = isPainted(run.painted, frame) ? "painted" : "in-between";
    this.flag.hidden = !view.has(frame);
    this.flag.style.left = `${px(view.centre(frame))}px`;
    this.flag.textContent = String(frame);
    this.read.replaceChildren(make("span", "dp-read-frame", `Frame ${frame}`), make("span", "dp-read-time", seconds));
    this.say({"aria-valuenow": frame, "aria-valuetext": `frame ${frame}, ${seconds}, ${what}`});
    this.mark?.setAttribute("d", `M${px((frame + 0.5) / view.frames * view.width)} 3V17`);
  }
}
