/* The motion of the settings in the editor, as a film. */
import {$, ask, make} from "./dom.js";

const WAIT = 1200; // ms after the last good change, with "Keep up"

export class Preview {
  constructor(body) {
    this.body = body; // returns what the editor holds
    this.asked = null;
    this.waiting = 0;
    $("preview").onclick = () => this.make();
    $("preview-auto").onchange = () => this.changed();
  }

  /** Take note of settings that are good. */
  changed() {
    clearTimeout(this.waiting);
    if ($("preview-auto").checked) this.waiting = setTimeout(() => this.make(), WAIT);
  }

  async make() {
    clearTimeout(this.waiting);
    this.asked?.abort();
    const asked = this.asked = new AbortController(), place = $("preview-place");
    place.setAttribute("aria-busy", "true");
    if (!place.querySelector("video")) place.replaceChildren(make("p", {className: "quiet-text", textContent: "making it …"}));
    try {
      const {address, notes} = await ask("POST", "/api/previews", this.body(), asked.signal);
      const film = make("video", {src: address, controls: true, loop: true, muted: true, autoplay: true, playsInline: true, "aria-label": "Preview of the motion"});
      film.onerror = () => film.replaceWith(make("p", {}, "this browser does not play H.264: ", make("a", {href: address, download: "preview.mp4", textContent: "preview.mp4"})));
      place.replaceChildren(film);
      if (notes.length) place.append(make("ul", {className: "notes"}, ...notes.map(note => make("li", {textContent: note}))));
    } catch (error) {
      if (error.name === "AbortError" || error.status === 409) return; // a newer one is made
      place.replaceChildren(make("pre", {className: "message", textContent: error.message}));
    } finally {
      if (asked === this.asked) place.setAttribute("aria-busy", "false");
    }
  }
}
