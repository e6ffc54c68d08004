/* The frames of one run: shown, scrubbed and played. */
import {$, folderPath, ask} from "./dom.js";

const AHEAD = 12; // frames that are fetched before they are played
const KEPT = 60;

export class Viewer {
  constructor(onFrame) {
    this.onFrame = onFrame;
    this.name = "";
    this.clear();
    this.fps = 15;
    this.playing = 0;
    this.pictures = new Map(); // address -> Promise of an image that is decoded
    const move = by => () => this.show(this.step(by), {byHand: true});
    $("first").onclick = () => this.show(this.ends()[0], {byHand: true});
    $("back").onclick = move(-1);
    $("next").onclick = move(1);
    $("last").onclick = () => this.show(this.ends()[1], {byHand: true});
    $("play").onclick = () => this.play();
    $("live").onchange = () => { if ($("live").checked) this.show(this.newest); };
    $("scrub").oninput = () => this.show(this.nearest(Number($("scrub").value)), {byHand: true});
    new ResizeObserver(() => this.drawStrip()).observe($("strip"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.drawStrip());
  }

  clear() {
    this.frames = new Map(); // index -> [seed, seconds, version]
    this.order = []; // indices, ascending
    this.first = 0;
    this.total = 0;
    this.at = -1;
    this.newest = -1;
  }

  open(name) {
    if (name === this.name) return;
    this.stop();
    this.name = name;
    this.clear();
    this.pictures.clear();
    $("picture").hidden = true;
    $("live").checked = true;
    this.refresh();
  }

  /** Take frames that the server tells of. */
  take({name, first, total, frames}) {
    if (name !== this.name) return;
    const isFirst = !this.order.length;
    Object.assign(this, {first, total});
    let isAgain = false;
    for (const [index, seed, seconds, version] of frames) {
      isAgain ||= index === this.at && this.frames.get(index)?.[2] !== version;
      this.frames.set(index, [seed, seconds, version]);
      this.newest = index;
    }
    this.order = [...this.frames.keys()].sort((a, b) => a - b);
    $("scrub").min = first;
    $("scrub").max = Math.max(first + total - 1, first);
    $("scrub").disabled = !this.order.length;
    if ($("live").checked && !this.playing && frames.length) this.show(this.newest);
    else if (isFirst && this.order.length) this.show(this.order[0]);
    else if (isAgain) this.show(this.at);
    else this.refresh();
    this.drawStrip();
  }

  ends() {
    return [this.order[0] ?? -1, this.order[this.order.length - 1] ?? -1];
  }

  /** Return the frame that is there nearest to an index. */
  nearest(index) {
    let best = this.order[0] ?? -1;
    for (const each of this.order) if (Math.abs(each - index) < Math.abs(best - index)) best = each;
    return best;
  }

  step(by) {
    const place = Math.min(Math.max(this.order.indexOf(this.at) + by, 0), this.order.length - 1);
    return this.order[place] ?? -1;
  }

  address(index) {
    return folderPath(this.name, `/frames/${index}?v=${this.frames.get(index)?.[2] ?? ""}`);
  }

  fetch(index) {
    const address = this.address(index);
    if (!this.pictures.has(address)) {
      const image = new Image();
      image.src = address;
      this.pictures.set(address, image.decode().then(() => image));
      this.pictures.get(address).catch(() => this.pictures.delete(address));
      if (this.pictures.size > KEPT) this.pictures.delete(this.pictures.keys().next().value);
    }
    return this.pictures.get(address);
  }

  async show(index, {byHand = false, quietly = false} = {}) {
    if (index < 0 || !this.frames.has(index)) return;
    if (byHand) {
      this.stop();
      $("live").checked = index === this.newest && $("live").checked;
    }
    this.at = index;
    this.refresh();
    if (!quietly) this.onFrame(index);
    const name = this.name;
    try {
      await this.fetch(index);
      if (this.at !== index || this.name !== name) return; // another one was asked for meanwhile
      const picture = $("picture");
      picture.src = this.address(index);
      picture.alt = `Frame ${index}`;
      picture.hidden = false;
    } catch { /* it is being replaced: its new version comes with the next event */ }
  }

  refresh() {
    const there = this.order.length, last = Math.max(this.first + this.total - 1, this.first, 1), scrub = $("scrub");
    const share = index => `${100 * (index - this.first) / Math.max(last - this.first, 1)}%`;
    scrub.value = Math.max(this.at, this.first);
    scrub.style.setProperty("--at", there ? share(this.at) : "0%");
    scrub.style.setProperty("--there", there ? share(this.ends()[1]) : "0%");
    scrub.setAttribute("aria-valuetext", there ? `frame ${this.at} of ${this.total}` : "no frames yet");
    scrub.disabled = !there;
    $("nothing").hidden = Boolean(this.name);
    $("newest").hidden = !($("live").checked && this.isGoing && this.at === this.newest);
    const where = $("where");
    where.replaceChildren();
    if (there) {
      const number = document.createElement("b");
      number.textContent = `frame ${this.at}`;
      const [seed] = this.frames.get(this.at) ?? [];
      where.append(number, ` of ${this.total} · ${(this.at / this.fps).toFixed(2)} s${seed >= 0 ? ` · seed ${seed}` : ""}`);
    }
    for (const id of ["first", "back", "play", "next", "last"]) $(id).disabled = !there;
  }

  /** Draw the seconds of each frame above the scrubber: what took long is high, what is missing is empty. */
  drawStrip() {
    const canvas = $("strip"), width = canvas.clientWidth, height = 30, scale = devicePixelRatio || 1;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const brush = canvas.getContext("2d"), colors = getComputedStyle(canvas);
    brush.scale(scale, scale);
    if (!this.total || !width) return;
    const times = this.order.map(index => this.frames.get(index)[1]).filter(each => each > 0).sort((a, b) => a - b);
    const most = Math.max(times[Math.floor(times.length * 0.98)] || 0, 1e-9);
    const margin = 7, step = (width - 2 * margin) / Math.max(this.total - 1, 1);
    const columns = new Map();
    for (const index of this.order) {
      const x = Math.round(margin + (index - this.first) * step - Math.max(step, 1) / 2);
      columns.set(x, Math.max(columns.get(x) || 0, this.frames.get(index)[1]));
    }
    brush.fillStyle = colors.getPropertyValue("--strong");
    for (const [x, seconds] of columns) {
      const tall = Math.max(2, Math.min(seconds / most, 1) * (height - 4));
      brush.fillRect(x, height - tall, Math.max(step - 1, 1), tall);
    }
  }

  play() {
    if (this.playing) return this.stop();
    if (!this.order.length) return;
    $("live").checked = false;
    $("play").setAttribute("aria-pressed", "true");
    $("play").setAttribute("aria-label", "Stop");
    if (this.at === this.ends()[1]) this.at = this.ends()[0];
    let due = performance.now();
    const round = this.playing = Math.random();
    const turn = async () => {
      if (this.playing !== round) return;
      const place = this.order.indexOf(this.at);
      for (const index of this.order.slice(place, place + AHEAD)) this.fetch(index).catch(() => {});
      const next = this.order[place + 1];
      await this.show(this.at, {quietly: false});
      if (this.playing !== round) return;
      if (next === undefined) return this.stop();
      due = Math.max(due + 1000 / this.fps, performance.now() - 100);
      this.at = next;
      setTimeout(turn, Math.max(due - performance.now(), 0));
    };
    turn();
  }

  stop() {
    this.playing = 0;
    $("play").setAttribute("aria-pressed", "false");
    $("play").setAttribute("aria-label", "Play");
  }

  /** Hear a key pressed outside of the editor; returns whether it was one of ours. */
  press(event) {
    const far = event.shiftKey ? 10 : 1;
    const acts = {
      " ": () => this.play(),
      ArrowLeft: () => this.show(this.step(-far), {byHand: true}),
      ArrowRight: () => this.show(this.step(far), {byHand: true}),
      Home: () => this.show(this.ends()[0], {byHand: true}),
      End: () => this.show(this.ends()[1], {byHand: true}),
      l: () => { $("live").checked = !$("live").checked; $("live").onchange(); this.refresh(); },
    };
    const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (act) act();
    return Boolean(act);
  }

  /** Fetch the prompts of a frame. */
  facts(index, signal) {
    return ask("GET", folderPath(this.name, `/frames/${index}/facts`), undefined, signal);
  }
}
