/* Small helpers. All texts are data of strangers: they are set as textContent, never as HTML. */

export const $ = id => document.getElementById(id);

/** Make an element; `given` are properties, attributes (with -) and listeners (on...); then its contents. */
export function make(tag, given = {}, ...contents) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role") element.setAttribute(name, String(value));
    else element[name] = value;
  }
  element.append(...contents.filter(each => each !== null && each !== undefined));
  return element;
}

/** Ask the server; returns what it answers, or throws an Error with its message and `status`. */
export async function ask(method, path, body, signal) {
  const given = {method, signal};
  if (body !== undefined) Object.assign(given, {body: JSON.stringify(body), headers: {"content-type": "application/json"}});
  const response = await fetch(path, given);
  const isJson = (response.headers.get("content-type") || "").startsWith("application/json");
  const answer = response.status === 204 ? null : isJson ? await response.json() : await response.text();
  if (!response.ok) {
    const error = new Error(answer && answer.message || `the server answered ${response.status}`);
    throw Object.assign(error, {status: response.status, problems: answer && answer.problems});
  }
  return answer;
}

/** Return the path of a folder's run below /api/folders. */
export const folderPath = (name, rest = "") => `/api/folders/${name.split("/").map(encodeURIComponent).join("/")}${rest}`;

let hiding = 0;
export function toast(text) {
  const box = $("toast");
  box.textContent = text;
  box.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { box.hidden = true; }, 6000);
}

/** Call an asynchronous function, and show its error. */
export const tried = act => async (...given) => {
  try {
    return await act(...given);
  } catch (error) {
    if (error.name !== "AbortError") toast(error.message);
  }
};

export function clock(seconds) {
  const whole = Math.round(seconds), pad = value => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  return hours ? `${hours}:${pad(minutes)}:${pad(whole % 60)}` : `${minutes}:${pad(whole % 60)}`;
}

export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

/** The tone of each state of a run, in the queue and on the disk. */
export const TONES = {
  running: "busy", rendering: "busy", pausing: "warn", paused: "warn", held: "warn", stopping: "warn",
  finished: "good", failed: "bad", interrupted: "warn", stopped: "warn", cancelled: "", queued: "",
};
