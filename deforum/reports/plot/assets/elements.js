/* Making elements. All texts are data of strangers: they are set as textContent, never as HTML. */

const SVG = "http://www.w3.org/2000/svg";
const HUES = ["blue", "violet", "orange", "green", "pink", "teal", "gold", "red"];

function make(tag, name = "", text = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== "") element.textContent = text;
  return element;
}

/** Make an element for a text in a language, and direction, of its own. */
function makeText(tag, name, text = "") {
  const element = make(tag, name, text);
  element.dir = "auto";
  return element;
}

function makeButton(name, text, act) {
  const button = make("button", name, text);
  button.type = "button";
  button.addEventListener("click", act);
  return button;
}

function draw(parent, tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  parent.append(element);
  return element;
}

/** Draw a path, unless there is nothing of it. */
function drawPath(parent, name, d) {
  if (d) draw(parent, "path", {class: name, d});
}

function write(parent, x, y, text, name) {
  draw(parent, "text", {x: px(x), y: px(y), class: name}).textContent = text;
}

/** Write a place in tenths of a px. */
const px = value => String(Math.round(value * 10) / 10);

const hueClass = number => `dp-c-${HUES[number % HUES.length]}`;

function makeSwatch(number) {
  const swatch = make("i", `dp-swatch ${hueClass(number)}`);
  swatch.setAttribute("aria-hidden", "true");
  return swatch;
}

/** Make a list of terms: [[name, text, unit]]. */
function makeTerms(rows) {
  const list = make("dl");
  for (const [name, value, unit] of rows) {
    const pair = make("div"), text = makeText("dd", "", value);
    if (unit) text.append(make("small", "", ` ${unit}`));
    pair.append(make("dt", "", name), text);
    list.append(pair);
  }
  return list;
}

function makeDetails(name, summary, content) {
  const details = make("details", name);
  details.append(make("summary", "", summary), content);
  return details;
}
