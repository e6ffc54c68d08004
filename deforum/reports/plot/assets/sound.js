/* The lane of a soundtrack: sections, waveform, beats and bars. */

class SoundLane extends Lane {
  constructor(plot, sound) {
    const beats = sound.beats.length;
    super(plot, "sound", sound.name || "sound", {
      unit: beats ? `${Number(sound.bpm.toPrecision(4))} bpm · ${beats} beats` : "no beats",
    });
    this.sound = sound;
    this.sections = sound.sections.map(([first, name]) => [first, name, hash(name)]);
    this.addSvg();
    this.svg.setAttribute("height", this.height);
    this.addValues();
  }

  get top() { return this.sections?.length ? 22 : 0; }
  get height() { return this.top + 64; }
  /** The waveform, decoded when it is first seen. */
  get wave() {
    if (this.decoded) return this.decoded;
    const {low, high} = this.sound, top = decode(high);
    return this.decoded = [low === null ? top.map(value => -value) : decode(low), top];
  }

  draw() {
    this.svg.replaceChildren();
    if (this.sections.length) drawRuns(this.svg, this.view, this.sections, this.sound.last);
    drawGuides(this.svg, this.plot, this.height, this.top);
    this.drawWave(this.top + 32, 28);
  }

  drawWave(middle, scale) {
    const {view, sound: {first, last}} = this, [lows, highs] = this.wave, per = (last - first) / lows.length; // frames
    if (!lows.length) return;
    const from = clamp(Math.floor((view.first - first) / per) - 1, 0, lows.length);
    const to = clamp(Math.ceil((view.last - first) / per) + 1, 0, lows.length);
    const bin = Math.max(1, Math.floor((to - from) / Math.max(view.width, 1))), over = [], under = [];
    for (let i = from - from % bin; i < to; i += bin) {
      let low = 1, high = -1;
      for (let j = i; j < Math.min(i + bin, to); j++) {
        low = Math.min(low, lows[j]);
        high = Math.max(high, highs[j]);
      }
      const x = px(view.x(first + i * per));
      over.push(`${x} ${px(middle - high * scale)}`);
      under.push(`${x} ${px(middle - low * scale + 0.5)}`);
    }
    drawPath(this.svg, "dp-wave", over.length ? `M${over.join("L")}L${under.reverse().join("L")}z` : "");
  }

  read(frame) {
    const end = frame + 0.999, {beats, bars} = this.sound;
    const beat = lastAtMost(beats, end), bar = lastAtMost(bars, end), section = lastAtMost(this.sections, end, start);
    const [value] = this.values;
    value.textContent = beat < 0 ? "" : `beat ${beat + 1}`;
    value.parentElement.title = [
      section >= 0 ? `section ${this.sections[section][1]}` : "", bar >= 0 ? `bar ${bar + 1}` : "",
    ].filter(Boolean).join(", ");
  }
}
