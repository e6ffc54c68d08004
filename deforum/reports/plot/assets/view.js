/* Which frames are in view, and where. A frame is a cell from its number to the next one; curves go through centres. */

const LEAST_VIEW = 6; // frames

class View {
  constructor() {
    this.frames = 1;
    this.first = 0;
    this.last = 1; // behind the last frame in view
    this.width = 0; // px
  }

  get length() { return this.last - this.first; }
  get isWhole() { return this.length >= this.frames; }
  get least() { return Math.min(LEAST_VIEW, this.frames); }
  /** px of a frame. */
  get step() { return this.width / this.length; }

  /** Return where a frame begins, in px. */
  x(frame) { return (frame - this.first) / this.length * this.width; }
  /** Return where the centre of a frame is. */
  centre(frame) { return this.x(frame + 0.5); }
  /** Return the frame, with a fraction, at a place. */
  at(x) { return this.first + x / this.width * this.length; }

  has(frame) { return frame + 0.5 >= this.first && frame + 0.5 <= this.last; }

  /** Return the range of whole frames in view, of `count` ones, with one more on each side. */
  around(count) { return [Math.max(Math.floor(this.first) - 1, 0), Math.min(Math.ceil(this.last) + 1, count)]; }

  /** Show a range of frames, or the nearest one that there is. */
  set(first, last) {
    const length = clamp(last - first, this.least, this.frames);
    this.first = clamp(first + (last - first - length) / 2, 0, this.frames - length);
    this.last = this.first + length;
  }

  /** Change the length by a factor; the frame `still` stays where it is. */
  zoom(factor, still) {
    const length = clamp(this.length * factor, this.least, this.frames), share = (still - this.first) / this.length;
    this.set(still - share * length, still + (1 - share) * length);
  }
}
