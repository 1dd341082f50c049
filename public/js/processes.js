// The processes of a sandbox: what runs and what ran, their logs, and a kill that reaches the whole tree.

import { ask, pathOf } from "./api.js";
import { badge, button, make, showError, time } from "./dom.js";
import { LogPane } from "./log.js";

const TONES = { starting: "busy", running: "good", completed: "quiet", failed: "bad", killed: "quiet", error: "bad" };

/** The tab of processes. */
export class ProcessesPanel {
  constructor(sandbox, onChange) {
    this.sandbox = sandbox;
    this.onChange = onChange;
    this.errors = make("div");
    this.done = make("p", { role: "status" });
    this.log = new LogPane("Log of the process");
    this.rows = make("tbody");
    const columns = ["Status", "Process", "Command", "Started", ""];
    this.table = make("table", { hidden: true },
      make("caption", {}, "What runs and what ran"),
      make("thead", {}, make("tr", {}, ...columns.map((name) => make("th", { scope: "col", className: name.toLowerCase() }, name)))),
      this.rows);
    this.none = make("p", { className: "empty" }, "None. Start one with POST …/processes, or open a terminal.");
    const refresh = button("Refresh", () => this.refresh(), this.errors);
    this.panel = make("section", {}, make("div", { className: "row" }, this.done, refresh), this.errors,
      make("div", { className: "wide" }, this.table), this.none, this.log.element);
  }

  /** Reads the list when the tab is shown. */
  shown() {
    return this.refresh();
  }

  /** Reads the list anew. */
  async refresh() {
    try {
      const { processes } = await ask("GET", pathOf(this.sandbox, "/processes"));
      this.table.hidden = processes.length === 0;
      this.none.hidden = processes.length > 0;
      this.rows.replaceChildren(...processes.map((process) => this.#row(process)));
      showError(this.errors, null);
    } catch (error) {
      showError(this.errors, error);
    }
  }

  /** Reads no more. */
  close() {
    this.log.dispose();
  }

  #row(process) {
    const { id, pid, command, status, startTime, exitCode, signal, reason } = process;
    const runs = status === "running" || status === "starting";
    const how = runs ? `pid ${pid}` : signal ? `by ${signal}` : exitCode === null ? reason ?? "" : `exit ${exitCode}`;
    const show = button("Log", async () => void this.#follow(id), this.errors, { "aria-label": `Log of ${id}` });
    const kill = button("Kill", () => this.#kill(id), this.errors, { "aria-label": `Kill ${id}`, className: "danger" });
    return make("tr", {},
      make("td", {}, badge(status, TONES[status] ?? "quiet"), make("small", {}, ` ${how}`)),
      make("td", {}, make("code", {}, id)),
      make("td", { className: "command" }, make("code", {}, command)),
      make("td", { className: "started" }, time(startTime)),
      make("td", { className: "buttons" }, show, runs ? kill : null));
  }

  #follow(id) {
    const path = () => pathOf(this.sandbox, `/processes/${id}/logs?follow=true`);
    const onEnd = ({ exitCode, reason, data }) => {
      this.log.say(exitCode === 0 ? "good" : reason === "killed" ? "quiet" : "bad", reason, `${id} ${data}`);
      this.refresh();
      this.onChange();
    };
    return this.log.show({ title: id, path, end: "exit", onEnd });
  }

  /** SIGTERM to the whole tree, then SIGKILL to what is left after the API's own grace. */
  async #kill(id) {
    const { signalled, killed, tookMs } = await ask("POST", pathOf(this.sandbox, `/processes/${id}/kill`), { json: {} });
    const forced = killed.length ? `, ${killed.length} of them by force` : "";
    this.done.textContent = `${id}: ${signalled.length} ended in ${tookMs} ms${forced}; none is left.`;
    await this.refresh();
    this.onChange();
  }
}
