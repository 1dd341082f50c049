// The list of the sandboxes that run or have a record.

import { ask } from "./api.js";
import { badge, byId, make, showError, time } from "./dom.js";

const TONES = { running: "good", starting: "busy", stopping: "busy", stopped: "quiet" };

/** How a sandbox stands, as a badge. */
export function statusBadge(sandbox) {
  return badge(sandbox.status, TONES[sandbox.status] ?? "quiet");
}

/** How long a sandbox stays, in words; nothing for one that does not run. */
export function leaseText({ status, keepAlive, sleepAfterMs }) {
  if (status === "stopped") return [];
  if (keepAlive) return ["kept alive until ", time(keepAlive.expiresAt)];
  return [`sleeps after ${sleepAfterMs / 60_000} min idle`];
}

/** The list in the page. `onKeyWanted` hears of a refusal for want of the key. */
export class SandboxList {
  #selected = "";
  #reading = null;
  #next = null;

  constructor(onKeyWanted) {
    this.onKeyWanted = onKeyWanted;
    byId("more").addEventListener("click", () => this.#read(byId("more").value));
  }

  /** Reads it anew. Who asks while it is read wants to know what is so now: it is read once more for all of
   * them. `false` if the key is wanted. */
  refresh() {
    this.#next ??= (this.#reading ?? Promise.resolve()).then(() => {
      this.#next = null;
      this.#reading = this.#read(null);
      return this.#reading;
    });
    return this.#next;
  }

  /** Marks the sandbox that is shown. */
  mark(id) {
    this.#selected = id;
    for (const link of byId("list").querySelectorAll("a")) this.#markLink(link);
  }

  async #read(cursor) {
    try {
      const query = cursor ? `?cursor=${encodeURIComponent(cursor)}` : "";
      const { sandboxes, cursor: next } = await ask("GET", `/v1/sandbox${query}`);
      const items = sandboxes.map((sandbox) => this.#item(sandbox));
      if (cursor) byId("list").append(...items);
      else byId("list").replaceChildren(...(items.length ? items : [make("li", { className: "empty" }, "None yet.")]));
      byId("more").hidden = !next;
      byId("more").value = next ?? "";
      showError(byId("list-error"), null);
      return true;
    } catch (error) {
      if (error.wantsKey) this.onKeyWanted(error);
      else showError(byId("list-error"), error);
      return !error.wantsKey;
    }
  }

  #item(sandbox) {
    const { id, runningProcesses: running, build } = sandbox;
    const facts = [
      running ? `${running} process${running === 1 ? "" : "es"}, ` : build ? "a build, " : "",
      ...leaseText(sandbox),
    ];
    const link = make("a", { href: `#/${id}` },
      make("span", { className: "name" }, id), statusBadge(sandbox), make("small", {}, ...facts));
    link.dataset.id = id;
    this.#markLink(link);
    return make("li", {}, link);
  }

  #markLink(link) {
    if (link.dataset.id === this.#selected) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}
