/* Mouse, touch, wheel and keys. */

const DRAGGED = 5; // px from which a drag is no click
const PLACES = ".dp-place,.dp-slider"; // where the cursor follows
const EDGE = 8; // px around the edges of the overview's window

/** Hear the pointer over the lanes and the ruler. */
class Pointer {
  constructor(plot) {
    this.plot = plot;
    this.fingers = new Map(); // place of each finger, by its number
    this.dragged = null; // where a drag with the mouse began
    this.pinch = null;
    const {body} = plot;
    body.addEventListener("pointermove", event => this.move(event));
    body.addEventListener("pointerdown", event => this.press(event));
    body.addEventListener("pointerleave", () => plot.hover(null));
    body.addEventListener("dblclick", event => { if (this.isOver(event, PLACES)) plot.look(0, Infinity); });
    body.addEventListener("wheel", event => this.wheel(event), {passive: false});
    for (const kind of ["pointerup", "pointercancel"]) plot.onWindow(kind, event => this.release(event));
  }

  x(event) { return event.clientX - this.plot.scale.place.getBoundingClientRect().left; }
  isOver(event, places) { return event.target instanceof Element && event.target.closest(places) !== null; }

  press(event) {
    // The words of the prompt can be selected.
    if (!this.isOver(event, PLACES) || this.isOver(event, ".dp-now")) return;
    if (event.pointerType === "mouse" && event.button !== 0) return;
    const {view} = this.plot, x = this.x(event);
    if (event.pointerType !== "touch") this.dragged = x; else this.fingers.set(event.pointerId, x);
    if (this.fingers.size === 2) {
      const [a, b] = this.fingers.values();
      this.pinch = {apart: Math.max(Math.abs(a - b), 12), length: view.length, frame: view.at((a + b) / 2)};
    } else this.plot.move(view.at(clamp(x, 0, view.width - 0.01)));
  }

  move(event) {
    const {plot} = this, {view} = plot, x = this.x(event), isFinger = this.fingers.has(event.pointerId);
    if (isFinger) this.fingers.set(event.pointerId, x);
    if (this.fingers.size === 2) return this.stretch();
    if (this.dragged !== null) plot.select(this.dragged, x);
    if (!isFinger && event.pointerType === "touch") return undefined;
    if (x < 0 || x > view.width || (this.dragged === null && !this.isOver(event, PLACES))) {
      return plot.hover(null);
    }
    plot.hover(event.target instanceof Element ? event.target.closest(".dp-lane") : null);
    return plot.move(view.at(x));
  }

  /** Zoom and move with two fingers: what was between them stays there. */
  stretch() {
    const {view} = this.plot, [a, b] = this.fingers.values();
    const length = this.pinch.length * this.pinch.apart / Math.max(Math.abs(a - b), 12);
    const first = this.pinch.frame - (a + b) / 2 / view.width * length;
    this.plot.look(first, first + length);
  }

  release(event) {
    const wasFinger = this.fingers.delete(event.pointerId), from = this.dragged, {plot} = this;
    if (from === null && !wasFinger) return;
    this.dragged = null;
    plot.select(0, 0);
    if (event.type !== "pointerup") return;
    const x = clamp(this.x(event), 0, plot.view.width);
    if (from !== null && Math.abs(x - from) >= DRAGGED) {
      plot.look(plot.view.at(Math.min(x, from)), plot.view.at(Math.max(x, from)));
    } else if (!this.fingers.size) plot.options.onSelect?.(plot.cursor);
  }

  wheel(event) {
    if (!this.isOver(event, ".dp-place,.dp-scale")) return;
    const {plot} = this, {view} = plot, along = event.shiftKey && !event.deltaX ? event.deltaY : event.deltaX;
    if ((event.ctrlKey || event.metaKey || this.isOver(event, ".dp-scale")) && event.deltaY) {
      event.preventDefault();
      plot.zoom(1.0025 ** clamp(event.deltaY, -240, 240), view.at(clamp(this.x(event), 0, view.width)));
    } else if (Math.abs(along) > Math.abs(event.shiftKey ? 0 : event.deltaY) && !view.isWhole) {
      event.preventDefault();
      plot.pan(along / view.step);
    }
  }
}

/** Hear the pointer over the overview: its window is dragged as a whole or by an edge; a click elsewhere centres it. */
function listenToOverview(plot) {
  const {view, scale: {overview}} = plot;
  const at = event => (event.clientX - overview.getBoundingClientRect().left) / view.width * view.frames;
  let grip = null;
  overview.addEventListener("pointerdown", event => {
    const frame = at(event), near = EDGE / view.width * view.frames;
    const edge = view.isWhole ? undefined : ["first", "last"].find(each => Math.abs(frame - view[each]) < near);
    if (!edge && (frame < view.first || frame > view.last)) plot.pan(frame - (view.first + view.last) / 2);
    grip = {edge, frame, first: view.first, last: view.last};
    overview.setPointerCapture(event.pointerId);
    event.stopPropagation();
  });
  overview.addEventListener("pointermove", event => {
    if (!grip) return;
    const by = at(event) - grip.frame, {first, last} = grip;
    if (grip.edge === "first") plot.look(clamp(first + by, 0, last - view.least), last);
    else if (grip.edge === "last") plot.look(first, clamp(last + by, first + view.least, view.frames));
    else plot.look(first + by, last + by);
  });
  for (const kind of ["pointerup", "pointercancel"]) overview.addEventListener(kind, () => { grip = null; });
}

const KEYS = {
  ArrowLeft: (plot, event) => plot.move(plot.cursor - (event.shiftKey ? 10 : 1)),
  ArrowRight: (plot, event) => plot.move(plot.cursor + (event.shiftKey ? 10 : 1)),
  Home: plot => plot.move(0),
  End: plot => plot.move(Infinity),
  ",": plot => plot.step(plot.runs[0].painted, -1),
  ".": plot => plot.step(plot.runs[0].painted, 1),
  "[": plot => plot.step(plot.keyframes(), -1),
  "]": plot => plot.step(plot.keyframes(), 1),
  "+": plot => plot.zoom(0.5),
  "=": plot => plot.zoom(0.5),
  "-": plot => plot.zoom(2),
  0: plot => plot.look(0, Infinity),
  "/": plot => plot.filter.focus(),
};

function press(plot, event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target instanceof Element && event.target.closest("input,textarea,select,[contenteditable]")) {
    if (event.target === plot.filter && event.key === "Escape") plot.endSearch();
    return;
  }
  if (!Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  plot.hover(null);
  KEYS[event.key](plot, event);
}
