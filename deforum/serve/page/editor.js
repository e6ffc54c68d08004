/* The settings editor: lines with numbers and colours, checked as one types. */
import {$, ask, make, plural, toast, tried} from "./dom.js";

const WAIT = 250; // ms without a key before a text is checked
const MOST_COLOURED = 200000; // characters
const STARTER = `# The settings of an animation. Each value can be an expression of the frame t, or keyframes.
prompts:
  0: a calm sea at sunset, golden light
max_frames: 60
fps: 15
motion:
  zoom: "1.01 + 0.01*sin(2*pi*t/60)"
`;
const KEPT = "deforum.draft"; // in this tab's storage

const TOKENS = /^(\s*(?:- )?)([\w.]+|"[^"]*"|'[^']*'|-?\d+)(\s*:)(?=\s|$)|(#.*$)|("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')|(?<![\w.])(-?\d+(?:\.\d+)?(?:e-?\d+)?)(?![\w.])/g;

export class Editor {
  constructor({onRender, onGood, onPreview}) {
    Object.assign(this, {onRender, onGood, onPreview});
    this.text = $("text");
    this.file = {name: "settings.yaml", text: "", sha256: "", overrides: [], can_be_saved: false};
    this.lines = [];
    this.problems = [];
    this.settings = new Map();
    this.asked = null;
    this.waiting = 0;
    this.isGood = false;
    this.names = null;
    this.text.addEventListener("input", () => this.changed());
    this.text.addEventListener("scroll", () => this.scrolled());
    this.text.addEventListener("keydown", event => this.press(event));
    for (const kind of ["keyup", "click", "focus"]) this.text.addEventListener(kind, () => this.caretMoved());
    this.text.addEventListener("blur", () => setTimeout(() => this.closeNames(), 150));
    $("render").onclick = tried(() => this.render());
    $("save").onclick = tried(() => this.save());
    window.addEventListener("beforeunload", event => { if (this.isDirty && this.file.can_be_saved) event.preventDefault(); });
    ask("GET", "/api/settings").then(all => {
      this.settings = new Map(all.map(each => [each.name, each]));
      this.caretMoved();
    }, () => {});
  }

  get isDirty() {
    return this.text.value !== this.file.text;
  }

  /** Open the file that the server was started with, or what was written in this tab before. */
  start(opened) {
    const kept = sessionStorage.getItem(KEPT);
    if (opened.name) this.open(opened);
    else this.open({...this.file, text: kept ?? STARTER});
    if (opened.name && kept !== null && kept !== opened.text) this.fill(kept);
  }

  open(file) {
    this.file = {name: "settings.yaml", sha256: "", overrides: [], can_be_saved: false, ...file};
    $("file-name").textContent = this.file.name;
    $("file-name").title = this.file.name;
    $("overrides").hidden = !this.file.overrides.length;
    $("overrides").textContent = this.file.overrides.join(" ");
    $("save").hidden = !this.file.can_be_saved;
    this.fill(this.file.text);
  }

  fill(text) {
    this.text.value = text;
    this.text.setSelectionRange(0, 0);
    this.changed();
    this.check();
  }

  body() {
    return {text: this.text.value, name: this.file.name, overrides: this.file.overrides};
  }

  changed() {
    sessionStorage.setItem(KEPT, this.text.value);
    $("dirty").hidden = !(this.file.can_be_saved && this.isDirty);
    this.isGood = false;
    $("render").disabled = true;
    this.draw();
    this.caretMoved();
    if (this.names) this.openNames();
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.check(), WAIT);
  }

  async check() {
    clearTimeout(this.waiting);
    this.asked?.abort();
    const asked = this.asked = new AbortController(), body = this.body();
    try {
      this.found(await ask("POST", "/api/check", body, asked.signal), body);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.found({good: false, text: error.message, problems: [], notes: []}, body);
    }
  }

  /** Show what was found in the text of `body`. */
  found({good, text, problems, notes}, body) {
    const verdict = $("verdict"), list = $("problems");
    this.isGood = good && body.text === this.text.value;
    this.problems = problems;
    verdict.dataset.state = good ? "good" : "bad";
    verdict.textContent = good ? "Good" : problems.length ? plural(problems.length, "problem") : "Not checked";
    list.replaceChildren();
    if (!good && !problems.length) list.append(make("pre", {textContent: text}));
    for (const problem of problems) {
      const said = problem.where ? `${problem.where}: ${problem.message}` : problem.message;
      // Messages with a caret keep their columns; others are wrapped.
      const shown = make("pre", {className: /\n\s*\^\s*(\n|$)/.test(said) ? "" : "wraps", textContent: said});
      list.append(make("button", {type: "button", onclick: () => this.goTo(problem)}, shown));
    }
    $("good").textContent = good ? text : "";
    if (!good) $("forecast").replaceChildren();
    $("notes-box").hidden = !notes.length;
    $("notes-title").textContent = plural(notes.length, "note");
    $("edit-notes").replaceChildren(...notes.map(note => make("li", {textContent: note})));
    $("render").disabled = !this.isGood;
    this.draw();
    if (good) this.onGood(body);
  }

  goTo({line, column}) {
    if (!line) return this.text.focus();
    const before = this.text.value.split("\n").slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
    const place = before + Math.max(column - 1, 0);
    this.text.focus();
    this.text.setSelectionRange(place, place);
    const height = this.lineHeight();
    this.text.scrollTop = Math.max((line - 4) * height, 0);
    this.caretMoved();
  }

  lineHeight() {
    return parseFloat(getComputedStyle(this.text).lineHeight);
  }

  nextProblem() {
    const placed = this.problems.filter(each => each.line).sort((a, b) => a.line - b.line || a.column - b.column);
    if (!placed.length) return;
    const [line, column] = this.caret();
    const after = placed.find(each => each.line > line || (each.line === line && each.column > column));
    this.goTo(after ?? placed[0]);
  }

  /** Return the line and column of the caret, from 1. */
  caret() {
    const before = this.text.value.slice(0, this.text.selectionStart);
    return [before.split("\n").length, before.length - before.lastIndexOf("\n")];
  }

  // --- drawing ---

  draw() {
    const text = this.text.value, isPlain = text.length > MOST_COLOURED;
    $("editor").classList.toggle("plain", isPlain);
    const wrong = new Map();
    for (const {line, column} of this.problems) if (line) wrong.set(line, [...(wrong.get(line) ?? []), column]);
    const lines = text.split("\n"), marks = $("marks"), gutter = $("gutter");
    while (gutter.childElementCount < lines.length) gutter.append(make("div", {textContent: gutter.childElementCount + 1}));
    while (gutter.childElementCount > lines.length) gutter.lastElementChild.remove();
    if (isPlain) marks.replaceChildren();
    const drawn = isPlain ? [] : lines;
    while (marks.childElementCount < drawn.length) marks.append(make("div"));
    while (marks.childElementCount > drawn.length) marks.lastElementChild.remove();
    const is = lines.map((line, index) => `${(wrong.get(index + 1) ?? []).join(",")}|${line}`);
    is.forEach((each, index) => {
      if (each === this.lines[index] && !isPlain) return;
      const columns = wrong.get(index + 1) ?? [];
      gutter.children[index].classList.toggle("bad", columns.length > 0);
      if (!isPlain) marks.children[index].replaceChildren(...coloured(lines[index], columns));
    });
    this.lines = isPlain ? [] : is;
    this.scrolled();
  }

  scrolled() {
    const {scrollTop, scrollLeft} = this.text;
    $("marks").scrollTop = $("gutter").scrollTop = scrollTop;
    $("marks").scrollLeft = scrollLeft;
  }

  /** Say what the setting in the caret's line is. */
  caretMoved() {
    const [line] = this.caret(), hint = $("hint");
    $("gutter").querySelector(".here")?.classList.remove("here");
    $("gutter").children[line - 1]?.classList.add("here");
    const name = this.text.value.split("\n")[line - 1]?.match(/^\s*(?:- )?([a-z_0-9]+)\s*:/)?.[1] ?? "";
    const found = this.settings.get(name);
    hint.replaceChildren();
    if (!found) return;
    hint.append(make("b", {textContent: name}), ` ${found.help}`);
    hint.append(make("span", {className: "chip", textContent: found.expected.replace(/^expected /, "")}));
    if (found.default !== "") hint.append(make("span", {className: "chip", textContent: `default ${found.default}`}));
  }

  // --- keys ---

  press(event) {
    if (this.names && this.pressInNames(event)) return;
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && event.key === "Enter") tried(() => this.render())();
    else if (isCommand && event.key.toLowerCase() === "m") this.onPreview();
    else if (isCommand && event.key.toLowerCase() === "s") tried(() => this.save())();
    else if (isCommand && event.key === " ") this.openNames();
    else if (event.key === "F8") this.nextProblem();
    else if (event.key === "Enter" && !event.shiftKey && !isCommand && !event.isComposing) this.newLine();
    else return;
    event.preventDefault();
  }

  /** Begin a line with the indentation of the one before, one level more behind a colon. */
  newLine() {
    const {value, selectionStart} = this.text;
    const line = value.slice(value.lastIndexOf("\n", selectionStart - 1) + 1, selectionStart);
    const indentation = line.match(/^ */)[0] + (/:\s*(#.*)?$/.test(line) ? "  " : "");
    this.insert(`\n${indentation}`);
  }

  /** Type a text, so that the browser can undo it. */
  insert(text) {
    this.text.focus();
    if (!document.execCommand("insertText", false, text)) this.text.setRangeText(text, this.text.selectionStart, this.text.selectionEnd, "end");
  }

  // --- completion ---

  openNames() {
    const before = this.text.value.slice(0, this.text.selectionStart), begun = before.match(/[a-z_0-9]*$/i)[0];
    const start = before.slice(before.lastIndexOf("\n") + 1);
    const isName = /^\s*[a-z_0-9]*$/i.test(start);
    const key = start.match(/^\s*([a-z_0-9]+)\s*:\s*[\w ]*$/)?.[1];
    const words = isName ? [...this.settings.keys()] : this.settings.get(key)?.choices ?? [];
    const fitting = words.filter(each => each.toLowerCase().startsWith(begun.toLowerCase()) && each !== begun).slice(0, 40);
    this.closeNames();
    if (!fitting.length) return;
    const [line, column] = this.caret();
    const style = getComputedStyle(this.text), letter = measure(style);
    const list = make("ul", {className: "names", role: "listbox", id: "names"});
    list.append(...fitting.map((name, index) => make("li", {
      role: "option", id: `name-${index}`, textContent: name, "aria-selected": String(index === 0),
      onmousedown: event => { event.preventDefault(); this.choose(name); },
    })));
    const box = $("editor");
    list.style.left = `${Math.min(this.text.offsetLeft + 14 + (column - 1 - begun.length) * letter - this.text.scrollLeft, box.clientWidth - 220)}px`;
    list.style.top = `${12 + line * this.lineHeight() - this.text.scrollTop}px`;
    box.append(list);
    this.names = {list, fitting, at: 0, begun, isName};
    this.text.setAttribute("aria-activedescendant", "name-0");
    this.text.setAttribute("aria-controls", "names");
  }

  pressInNames(event) {
    const {list, fitting} = this.names;
    const by = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (by) {
      list.children[this.names.at].setAttribute("aria-selected", "false");
      this.names.at = (this.names.at + by + fitting.length) % fitting.length;
      list.children[this.names.at].setAttribute("aria-selected", "true");
      list.children[this.names.at].scrollIntoView({block: "nearest"});
      this.text.setAttribute("aria-activedescendant", `name-${this.names.at}`);
    } else if (["Enter", "Tab"].includes(event.key) && !event.ctrlKey && !event.metaKey) this.choose(fitting[this.names.at]);
    else if (event.key === "Escape") this.closeNames();
    else {
      if (["ArrowLeft", "ArrowRight"].includes(event.key)) this.closeNames();
      return false;
    }
    event.preventDefault();
    return true;
  }

  choose(name) {
    const {begun, isName} = this.names;
    this.closeNames();
    const end = this.text.selectionStart;
    this.text.setSelectionRange(end - begun.length, end);
    this.insert(isName ? `${name}: ` : name);
  }

  closeNames() {
    this.names?.list.remove();
    this.names = null;
    this.text.removeAttribute("aria-activedescendant");
    this.text.removeAttribute("aria-controls");
  }

  // --- what is done with the text ---

  async render() {
    if (!this.isGood) await this.check();
    if (!this.isGood) return this.nextProblem();
    $("render").disabled = true;
    try {
      this.onRender(await ask("POST", "/api/runs", this.body()));
    } finally {
      $("render").disabled = !this.isGood;
    }
  }

  async save() {
    if (!this.file.can_be_saved) return;
    const saved = await ask("PUT", "/api/file", {text: this.text.value, sha256: this.file.sha256});
    this.file = {...this.file, text: saved.text, sha256: saved.sha256};
    $("dirty").hidden = !this.isDirty;
    toast(`saved ${this.file.name}`);
  }
}

/** Return a line as parts with colours; what begins at the columns is underlined as wrong. */
function coloured(line, columns) {
  const parts = [];
  let at = 0;
  const add = (text, kind) => { if (text) parts.push([text, kind]); };
  for (const found of line.matchAll(TOKENS)) {
    add(line.slice(at, found.index), "");
    const [whole, indentation, key, colon, comment, string, number] = found;
    if (key !== undefined) {
      add(indentation, "");
      add(key, "key");
      add(colon, "");
    } else add(whole, comment !== undefined ? "comment" : string !== undefined ? "string" : number !== undefined ? "number" : "");
    at = found.index + whole.length;
    if (comment !== undefined) break;
  }
  add(line.slice(at), "");
  const wrong = columns.map(column => {
    const start = Math.min(column - 1, Math.max(line.length - 1, 0));
    const word = line.slice(start).match(/^["']?[\w.+*/-]+/)?.[0] ?? line[start] ?? " ";
    return [start, start + word.length];
  });
  const nodes = [];
  let from = 0;
  for (const [text, kind] of parts) {
    let rest = text;
    while (rest) {
      const isWrong = wrong.some(([start, end]) => from >= start && from < end);
      let length = 1;
      while (length < rest.length && wrong.some(([start, end]) => from + length >= start && from + length < end) === isWrong) length++;
      const className = [kind, isWrong ? "wrong" : ""].filter(Boolean).join(" ");
      nodes.push(className ? make("span", {className, textContent: rest.slice(0, length)}) : rest.slice(0, length));
      from += length;
      rest = rest.slice(length);
    }
  }
  if (columns.length && !line) nodes.push(make("span", {className: "wrong", textContent: " "}));
  return nodes;
}

function measure(style) {
  const brush = document.createElement("canvas").getContext("2d");
  brush.font = `${style.fontSize} ${style.fontFamily}`;
  return brush.measureText("m").width;
}
