/* The run beside the frames, the queue, and the runs on the disk. */
import {$, TONES, ask, clock, folderPath, make, plural, toast, tried} from "./dom.js";

const WORDS = {pause: "Pause", resume: "Resume", cancel: "Cancel"};
const SAID = {held: "held back", pausing: "pausing after this frame", stopping: "stopping after this frame"};

export class Queue {
  constructor({onPick, onEdit}) {
    Object.assign(this, {onPick, onEdit});
    this.runs = new Map();
    this.isPaused = false;
    this.current = "";
    $("queue-pause").onclick = tried(() => ask("POST", `/api/queue/${this.isPaused ? "resume" : "pause"}`));
  }

  take({is_paused, runs, order}) {
    this.isPaused = is_paused;
    for (const run of runs) this.runs.set(run.id, run);
    if (order) this.runs = new Map(order.map(id => [id, this.runs.get(id)]));
    this.draw();
  }

  act(run, action) {
    return tried(() => ask("POST", `/api/runs/${encodeURIComponent(run.id)}/${action}`));
  }

  draw() {
    const waiting = [...this.runs.values()].filter(run => !["finished", "failed", "cancelled"].includes(run.state)).length;
    $("queue-count").textContent = waiting;
    $("queue-count").hidden = !waiting;
    $("queue-none").hidden = this.runs.size > 0;
    const pause = $("queue-pause");
    pause.textContent = this.isPaused ? "Start queue" : "Pause queue";
    pause.setAttribute("aria-pressed", String(this.isPaused));
    const list = $("queue"), focused = document.activeElement?.dataset?.key;
    // What waits and renders stands first, then the latest of what is over.
    const all = [...this.runs.values()], isOver = run => ["finished", "failed", "cancelled"].includes(run.state);
    const sorted = [...all.filter(run => !isOver(run)), ...all.filter(isOver).reverse().slice(0, 30)];
    list.replaceChildren(...sorted.map(run => this.row(run)));
    if (focused) list.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  row(run) {
    const said = [SAID[run.state] ?? run.state];
    if (run.state === "running") {
      said[0] = run.phase === "rendering" ? `${run.done} of ${run.total}` : run.phase;
      if (run.step) said[0] = `${run.step}: ${run.step_done} of ${run.step_total}`;
      if (run.seconds_left !== null) said.push(`${clock(run.seconds_left)} left`);
    } else if (run.state === "queued" && this.isPaused) said[0] = "waits: the queue is paused";
    else if (run.state === "paused") said.push(`${run.done} of ${run.total}`);
    if (run.message) said.push(run.message.split("\n")[0]);
    const isOver = ["finished", "failed", "cancelled"].includes(run.state);
    const buttons = [];
    const before = run.state === "queued" && this.before(run);
    if (before) buttons.push(make("button", {
      textContent: "↑", title: "Render it sooner", "aria-label": `Move ${run.folder || run.name} up`, "data-key": `${run.id}.up`,
      onclick: tried(() => ask("PUT", `/api/runs/${encodeURIComponent(run.id)}/place`, {before: before.id})),
    }));
    buttons.push(...run.actions.map(action => make("button", {
      textContent: WORDS[action], "aria-label": `${WORDS[action]} ${run.folder || run.name}`, "data-key": `${run.id}.${action}`,
      onclick: this.act(run, action),
    })));
    if (isOver) buttons.push(make("button", {
      textContent: "✕", title: "Take it off the list; its folder stays", "aria-label": `Forget ${run.folder || run.name}`,
      "data-key": `${run.id}.forget`, onclick: tried(() => ask("DELETE", `/api/runs/${encodeURIComponent(run.id)}`)),
    }));
    return make("li", {"data-id": run.id, "data-state": run.state, "aria-current": run.folder && run.folder === this.current ? "true" : null},
      make("button", {className: "pick", "data-key": `${run.id}.pick`, title: run.message || run.folder || run.name, onclick: () => run.folder ? this.onPick(run.folder) : toast("it has not begun yet")},
        make("i", {className: "dot", "data-tone": TONES[run.state] ?? ""}), make("span", {textContent: run.folder || run.name}),
        run.folder ? null : make("small", {textContent: `#${run.id}`})),
      make("span", {className: "state", textContent: said.join(" · ")}),
      make("span", {className: "do"}, ...buttons));
  }

  /** Return the run that waits before another one. */
  before(run) {
    const waiting = [...this.runs.values()].filter(each => each.state === "queued" || each.state === "held");
    return waiting[waiting.indexOf(run) - 1];
  }

  /** Show the runs on the disk. */
  async list() {
    const folders = await ask("GET", "/api/folders");
    this.folders = folders;
    $("folders-none").hidden = folders.length > 0;
    $("folders").replaceChildren(...folders.slice(0, 200).map(each => make("li", {
      "data-name": each.name, "aria-current": each.name === this.current ? "true" : null,
    }, make("button", {className: "pick", onclick: () => this.onPick(each.name), title: each.state},
      make("i", {className: "dot", "data-tone": TONES[each.state] ?? ""}), make("span", {textContent: each.name})),
    make("small", {textContent: each.done === each.total ? plural(each.total, "frame") : `${each.done} of ${each.total}`}))));
    return folders;
  }

  pick(name) {
    this.current = name;
    for (const row of $("folders").children) row.toggleAttribute("aria-current", row.dataset.name === name), row.dataset.name === name && row.setAttribute("aria-current", "true");
    this.draw();
  }

  /** Show one run in full. */
  show(run) {
    const tone = TONES[run.state] ?? "", job = this.runs.get(run.job);
    const state = job && !["finished", "failed", "cancelled"].includes(job.state) ? job.state : run.state;
    $("run-card").hidden = false;
    $("run-name").textContent = run.name;
    $("run-name").title = run.name;
    $("run-state").textContent = state;
    $("run-state").dataset.tone = $("run-meter").dataset.tone = TONES[state] ?? tone;
    const meter = $("run-meter");
    meter.setAttribute("aria-valuemax", run.total);
    meter.setAttribute("aria-valuenow", run.done);
    meter.firstElementChild.style.width = `${100 * run.done / Math.max(run.total, 1)}%`;
    $("run-frames").textContent = `${run.done} / ${run.total}`;
    $("run-left").textContent = run.seconds_left !== null ? clock(run.seconds_left) : run.done >= run.total ? "–" : "…";
    const left = run.total - run.done;
    $("run-pace").textContent = run.seconds_left ? `${(left / run.seconds_left).toPrecision(2)} /s` : "–";
    const {facts} = run;
    $("run-facts").textContent = [
      facts.width && `${facts.written[0]}×${facts.written[1]}`, facts.fps && `${facts.fps} fps`, facts.animation_mode,
      facts.model && facts.model.split(/[\\/]/).pop(), facts.seed !== undefined && `seed ${facts.seed}`, run.device,
      run.origin && `from ${run.origin}`,
    ].filter(Boolean).join(" · ");
    const message = job?.message || (run.state === "failed" && run.history.at(-1)?.why) || "";
    $("run-message").hidden = !message;
    $("run-message").textContent = message;
    const actions = (job?.actions ?? []).map(action => make("button", {
      textContent: WORDS[action], className: action === "cancel" ? "danger" : "", "data-key": action, onclick: this.act(job, action),
    }));
    actions.push(make("button", {textContent: "Edit its settings", "data-key": "edit", onclick: () => this.onEdit(run.name)}));
    const focused = $("run-actions").contains(document.activeElement) && document.activeElement.dataset.key;
    $("run-actions").replaceChildren(...actions);
    if (focused) $("run-actions").querySelector(`[data-key="${focused}"]`)?.focus();
    const films = run.films.map(film => make("a", {href: folderPath(run.name, `/files/${encodeURIComponent(film)}`), textContent: film, download: film}));
    $("films").replaceChildren(...films);
    this.times(run.times);
    fold("run-notes", run.notes.map(note => make("li", {textContent: note})), plural(run.notes.length, "note"));
    fold("history", run.history.map(each => make("li", {}, make("b", {textContent: each.what}),
      ` ${new Date(each.when).toLocaleString()}${each.frames ? `, ${plural(each.frames, "frame")}` : ""}${each.why ? `: ${each.why}` : ""}`)));
  }

  times(times) {
    const rows = Object.entries(times).filter(([, spent]) => spent >= 0.05).sort((a, b) => b[1] - a[1]);
    const sum = rows.reduce((total, [, spent]) => total + spent, 0);
    $("times-box").hidden = !rows.length;
    $("times-sum").textContent = `· ${spent(sum)} a frame`;
    const hue = index => `c${Math.min(index, 7)}`;
    $("times-bar").replaceChildren(...rows.map(([, each], index) => {
      const part = make("i", {className: hue(index)});
      part.style.flexGrow = each;
      return part;
    }));
    $("times").replaceChildren(...rows.map(([stage, each], index) => make("li", {className: hue(index)},
      stage, make("b", {textContent: spent(each)}), make("small", {textContent: `${Math.round(100 * each / sum)} %`}))));
  }
}

const spent = ms => ms >= 1000 ? `${(ms / 1000).toPrecision(3)} s` : `${ms.toPrecision(ms < 10 ? 2 : 3)} ms`;

function fold(id, rows, title) {
  $(`${id}-box`).hidden = !rows.length;
  $(id).replaceChildren(...rows);
  if (title) $(`${id}-title`).textContent = title;
}
