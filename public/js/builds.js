// The builds of a sandbox: one is started and followed, those before are records with their logs.

import { ask, call, pathOf } from "./api.js";
import { badge, button, duration, field, make, showError, size, time } from "./dom.js";
import { LogPane } from "./log.js";

const TONES = { succeeded: "good", failed: "bad", timedOut: "bad", lost: "bad", cancelled: "quiet" };

/** The tab of builds. */
export class BuildsPanel {
  constructor(sandbox, onChange) {
    this.sandbox = sandbox;
    this.onChange = onChange;
    this.errors = make("div");
    this.log = new LogPane("Log of the build");
    this.records = make("tbody");
    this.form = buildForm();
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#start(requestOf(this.form));
    });
    const columns = ["Ended", "Command", "Started", "Took", "Log"];
    this.table = make("table", { hidden: true },
      make("caption", {}, "Records"),
      make("thead", {}, make("tr", {}, ...columns.map((name) => make("th", { scope: "col", className: name.toLowerCase() }, name)))),
      this.records);
    this.panel = make("section", {}, this.form, this.log.element, this.errors, make("div", { className: "wide" }, this.table));
  }

  /** Reads the records when the tab is shown. */
  shown() {
    return this.refresh();
  }

  /** Reads the records anew. */
  async refresh() {
    try {
      const { builds } = await ask("GET", pathOf(this.sandbox, "/builds"));
      this.table.hidden = builds.length === 0;
      this.records.replaceChildren(...builds.map((build) => this.#row(build)));
      showError(this.errors, null);
    } catch (error) {
      showError(this.errors, error);
    }
  }

  /** Reads no more; a build that is to be cancelled when its client leaves is. */
  close() {
    this.log.dispose();
  }

  #start(request) {
    const build = { id: null, command: request.command, live: true };
    const start = async (signal) => {
      const path = pathOf(this.sandbox, "/builds");
      const answer = await call("POST", path, { json: request, headers: { Accept: "text/event-stream" }, signal });
      build.id = answer.headers.get("Sandbox-Build-Id");
      this.#changed();
      return answer;
    };
    return this.#follow(build, start);
  }

  /** Shows the log of `build`, which `start` begins if there is one. */
  async #follow(build, start) {
    const path = () => pathOf(this.sandbox, `/builds/${build.id}/logs?follow=true`);
    const cancel = button("Cancel", () => this.#cancel(build.id), this.log.errors, { hidden: !build.live });
    const onEnd = ({ status, data, durationMs }) => {
      this.log.say(TONES[status], wordFor(status), `${data}. It took ${duration(durationMs)}.`);
    };
    await this.log.show({ title: build.command, start, path, end: "build", onEnd, actions: [cancel] });
    cancel.hidden = true;
    this.#changed();
  }

  async #cancel(id) {
    await ask("DELETE", pathOf(this.sandbox, `/builds/${id}`));
    this.#changed();
  }

  #changed() {
    this.refresh();
    this.onChange();
  }

  #row(build) {
    const { id, status, reason, command, cwd, startedAt, durationMs, logBytes, logComplete } = build;
    const live = !(status in TONES);
    const show = button("Show", async () => void this.#follow({ id, command, live }), this.errors, {
      "aria-label": `Show the log of ${command}`,
    });
    const cancel = button("Cancel", () => this.#cancel(id), this.errors, { "aria-label": `Cancel ${command}` });
    const log = `${size(logBytes)}${logComplete ? "" : ", not all of it kept"}`;
    return make("tr", {},
      make("td", {}, badge(wordFor(status), live ? "busy" : TONES[status]), reason ? make("small", {}, ` ${wordFor(reason)}`) : null),
      make("td", { className: "command" }, make("code", {}, command), make("small", {}, ` in ${cwd}`)),
      make("td", { className: "started" }, time(startedAt)),
      make("td", {}, duration(durationMs)),
      make("td", { className: "buttons" }, make("small", {}, live ? "" : log), show, live ? cancel : null));
  }
}

/** `timedOut` as a person reads it. */
function wordFor(name) {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function buildForm() {
  const command = make("textarea", { name: "command", required: true, rows: 2, spellcheck: false, autocapitalize: "none" });
  command.placeholder = "npm ci && npm run build";
  const text = { autocomplete: "off", spellcheck: false, autocapitalize: "none" };
  return make("form", { className: "build" },
    field("Command", command, "Run by bash. When it has ended, the sandbox is destroyed, whatever happens."),
    make("div", { className: "fields" },
      field("Folder", make("input", { name: "cwd", placeholder: "/workspace", ...text })),
      field("Until this is printed", make("input", { name: "until", placeholder: "Build complete", ...text })),
      field("At most, in minutes", make("input", { name: "timeout", type: "number", min: "0.1", step: "any", placeholder: "60" }))),
    make("div", { className: "row" },
      make("label", { className: "check" },
        make("input", { name: "leave", type: "checkbox" }), " Cancel it when I leave"),
      make("button", { className: "primary" }, "Build")));
}

/** The body of the request; what is left empty is left to the API. */
function requestOf(form) {
  const { command, cwd, until, timeout, leave } = form.elements;
  return {
    command: command.value,
    ...(cwd.value && { cwd: cwd.value }),
    ...(until.value && { until: { log: until.value } }),
    ...(timeout.value && { timeoutMs: Math.round(Number(timeout.value) * 60_000) }),
    onDisconnect: leave.checked ? "cancel" : "continue",
  };
}
