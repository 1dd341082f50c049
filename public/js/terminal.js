// A terminal in a sandbox, by the addon that Cloudflare publishes for its own.

import { SandboxAddon } from "../vendor/sandbox/index.js";
import { ask, pathOf } from "./api.js";
import { badge, button, make } from "./dom.js";
import { Screen } from "./screen.js";

/** The shell of this name goes on while nobody looks, and is joined again. */
const SESSION = "console";
const TONES = { connected: "good", connecting: "busy", disconnected: "quiet" };

/** The tab of the terminal. */
export class TerminalPanel {
  #addon = null;
  #screen = null;

  constructor(sandbox, onChange) {
    this.sandbox = sandbox;
    this.onChange = onChange;
    this.errors = make("div");
    this.state = make("p", { className: "state", role: "status" }, badge("disconnected", "quiet"));
    this.host = make("div", { hidden: true });
    this.openButton = button("Open", () => this.#open(), this.errors, { className: "primary" });
    this.closeButton = button("Leave", async () => this.close(), this.errors, { hidden: true });
    const hint = "Opening it starts the sandbox. The shell is there again when you come back. "
      + "Shift+Escape leaves the terminal by the keyboard.";
    this.panel = make("section", {},
      make("div", { className: "row" }, this.state, this.openButton, this.closeButton),
      make("p", { className: "hint" }, hint), this.errors, this.host);
  }

  /** Hangs up. The shell goes on. */
  close() {
    this.#addon?.disconnect();
    this.#screen?.dispose();
    this.#addon = this.#screen = null;
    this.host.hidden = true;
    this.host.replaceChildren();
    this.#offer();
  }

  async #open() {
    this.close();
    // A WebSocket cannot send the key. The same ticket opens this terminal again after a cut.
    const { ticket } = await ask("POST", pathOf(this.sandbox, "/tickets"));
    this.host.hidden = false;
    const screen = new Screen(this.host, { label: `Terminal of ${this.sandbox}`, interactive: true });
    const addon = new SandboxAddon({
      getWebSocketUrl: ({ origin }) => origin + pathOf(this.sandbox, `/pty?${this.#query(ticket)}`),
      onStateChange: (state, error) => this.#changed(addon, state, error),
    });
    this.#screen = screen;
    this.#addon = addon;
    screen.terminal.loadAddon(addon);
    screen.fit.fit();
    addon.connect({ sandboxId: this.sandbox, sessionId: SESSION });
  }

  #query(ticket) {
    const { cols, rows } = this.#screen.terminal;
    return new URLSearchParams({ cols, rows, session: SESSION, ticket });
  }

  #changed(addon, state, error) {
    if (addon !== this.#addon) return;
    this.state.replaceChildren(badge(state, TONES[state]), error ? make("span", {}, error.message) : "");
    // A shell that has ended is not joined again; another would be started.
    if (error?.message.startsWith("Session exited")) {
      this.#addon = null;
      addon.disconnect();
      this.onChange();
    } else if (state === "connected" && !error) this.onChange();
    this.#offer();
  }

  #offer() {
    this.openButton.hidden = this.#addon !== null;
    this.closeButton.hidden = this.#addon === null;
    if (!this.#addon && !this.#screen) this.state.replaceChildren(badge("disconnected", "quiet"));
  }
}
