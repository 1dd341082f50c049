// One sandbox: how it stands, its tabs, and its end.

import { ask, pathOf } from "./api.js";
import { BuildsPanel } from "./builds.js";
import { badge, button, duration, make, showError, time } from "./dom.js";
import { leaseText, statusBadge } from "./list.js";
import { ProcessesPanel } from "./processes.js";
import { makeTabs } from "./tabs.js";
import { TerminalPanel } from "./terminal.js";

/** The sandbox `id` in `main`; without an id, what there is to do. `onChange` hears when it may stand otherwise. */
export class SandboxView {
  constructor(main, id, onChange) {
    this.id = id;
    this.onChange = onChange;
    if (!id) {
      main.append(welcome());
      return;
    }
    this.facts = make("p", { className: "facts", role: "status" });
    this.errors = make("div");
    this.receipt = make("div");
    const changed = () => this.refresh();
    this.builds = new BuildsPanel(id, changed);
    this.processes = new ProcessesPanel(id, changed);
    this.terminal = new TerminalPanel(id, changed);
    this.confirm = this.#confirmation();
    const destroy = button("Destroy…", async () => this.confirm.showModal(), this.errors, { className: "danger" });
    main.append(
      make("div", { className: "row" }, make("h2", {}, id), destroy),
      this.facts, this.errors, this.receipt, this.confirm,
      makeTabs("What to do with it", [
        { title: "Builds", panel: this.builds.panel, shown: () => this.builds.shown() },
        { title: "Processes", panel: this.processes.panel, shown: () => this.processes.shown() },
        { title: "Terminal", panel: this.terminal.panel },
      ]),
    );
    this.refresh();
  }

  /** Reads anew how it stands. */
  async refresh() {
    if (!this.id) return;
    try {
      const sandbox = await ask("GET", pathOf(this.id));
      const { startedAt, runningProcesses: running, build } = sandbox;
      this.facts.replaceChildren(
        statusBadge(sandbox),
        ...(startedAt ? [" since ", time(startedAt)] : [" nothing runs"]),
        running ? ` · ${running} process${running === 1 ? "" : "es"}` : "", build ? " · a build" : "", startedAt ? " · " : "", ...leaseText(sandbox),
      );
      showError(this.errors, null);
    } catch (error) {
      showError(this.errors, error);
    }
    this.onChange();
  }

  /** Lets go of every stream. */
  close() {
    for (const panel of [this.builds, this.processes, this.terminal]) panel?.close();
  }

  #confirmation() {
    const failed = make("div");
    const dialog = make("dialog", { "aria-labelledby": "destroy-title" });
    const act = async () => {
      await this.#destroy();
      dialog.close();
      await Promise.all([this.refresh(), this.processes.refresh(), this.builds.refresh()]);
    };
    dialog.append(
      make("h2", { id: "destroy-title" }, `Destroy ${this.id}?`),
      make("p", {}, "Everything that runs in it is ended, and its /workspace is gone. Records and logs of builds stay."),
      failed,
      make("div", { className: "actions" },
        button("Keep it", async () => dialog.close(), failed),
        button("Destroy", act, failed, { className: "danger" })),
    );
    return dialog;
  }

  async #destroy() {
    this.terminal.close();
    const headers = { Prefer: "return=representation" };
    const receipt = await ask("DELETE", pathOf(this.id), { headers });
    this.receipt.replaceChildren(receiptOf(receipt));
  }
}

/** What a destroy did. */
function receiptOf({ wasRunning, processes, survivors, tookMs }) {
  const rows = processes.map(({ id, pid, outcome }) =>
    make("tr", {}, make("td", {}, make("code", {}, id)), make("td", {}, pid), make("td", {}, outcome)));
  const table = rows.length > 0 && make("table", {},
    make("caption", {}, "What ran in it"),
    make("thead", {}, make("tr", {}, ...["Process", "Pid", "Outcome"].map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...rows));
  return make("section", { className: "receipt", role: "status", "aria-label": "Receipt of the destroy" },
    make("p", {}, badge("destroyed", "good"), ` in ${duration(tookMs)}`,
      wasRunning ? "" : "; it was not running", survivors.length ? `; ${survivors.length} survived` : "; nothing is left"),
    table);
}

function welcome() {
  return make("div", { className: "welcome" },
    make("h2", {}, "Run something, see all of it, leave nothing behind"),
    make("p", {}, "Choose a sandbox, or give a new one a name. It starts when something runs in it: a build, "
      + "a process, a terminal. A build ends with the destroy of its sandbox; its record and its log stay."));
}
