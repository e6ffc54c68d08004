/* Reading the data of a plot, and writing numbers and times. */

/** Decode a curve: a list of numbers, or base64 of little-endian floats behind "f4:" or "f8:". */
function decode(values) {
  if (typeof values !== "string") return Float64Array.from(values);
  const bytes = Uint8Array.from(atob(values.slice(3)), letter => letter.charCodeAt(0));
  return values.startsWith("f8:") ? new Float64Array(bytes.buffer) : new Float32Array(bytes.buffer);
}

/** Unpack texts to [[first frame, text]]: each is stored as what differs from the one before. */
function unpack(packed) {
  let text = "";
  return packed.map(([start, kept, middle, tail]) => {
    text = text.slice(0, kept) + middle + text.slice(text.length - tail);
    return [start, text];
  });
}

/** Return the keyframes of rows of equal distances: [[frame, whether it is an expression]]. */
function unpackMarks(packed) {
  return packed.flatMap(([first, distance, count, kind]) =>
    Array.from({length: count}, (_, i) => [first + distance * i, kind === 1]));
}

const itself = each => each;
const start = each => each[0];

/** Return the index of the last of sorted values that is at most `value`; -1 if none is. */
function lastAtMost(values, value, of = itself) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (of(values[middle]) <= value) low = middle + 1; else high = middle;
  }
  return low - 1;
}

/** Return the index of the run that a frame is in, of runs that begin with their first frame. */
const runAt = (runs, frame) => Math.max(lastAtMost(runs, frame, start), 0);

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** Write a number as `values` does, fractions with six digits. */
const show = value => Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));

/** Write a number of an axis, in steps of a hundredth to a thousandth of `span`. */
function brief(value, span) {
  if (!span) return show(value);
  return String(Number(value.toFixed(clamp(2 - Math.floor(Math.log10(span)), 0, 12))) + 0);
}

/** Write a time with hundredths of a second: 3.20 s, 1:02.50 or 1:10:02.50. */
function duration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(2)} s`;
  const whole = Math.round(seconds * 100) / 100, minutes = Math.floor(whole / 60), hours = Math.floor(minutes / 60);
  const rest = (whole - 60 * minutes).toFixed(2).padStart(5, "0");
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** Write a time without the digits that say nothing. */
const briefly = seconds => duration(seconds).replace(/\.?0+ s$/, " s").replace(/\.00$/, "");

/** Return the least of 1, 2, 5, 10, 20, ... that is at least `rough`; also 0.1, 0.05, ... below 1. */
function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].find(each => each * power >= rough) * power;
}

/** Return round numbers within a range, about `count` of them. */
function ticks(low, high, count) {
  const step = niceStep((high - low) / count), found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) found.push(i * step);
  return found;
}

/** Return a number that is the same for equal texts. */
function hash(text) {
  let value = 2166136261;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 16777619);
  return (value ^ (value >>> 15)) >>> 0;
}
