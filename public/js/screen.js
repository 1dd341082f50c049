// A screen: what a process printed, colours, progress bars and all, by a terminal emulator. It makes text of
// everything; no escape sequence reaches the page.

import { FitAddon } from "../vendor/xterm/addon-fit.mjs";
import { Terminal } from "../vendor/xterm/xterm.mjs";

/** How many lines can be scrolled back to. */
const LINES = 50_000;
/** What may wait to be shown; a stream that is faster waits as well. */
const WAITING_BYTES = 1 << 20;
const dark = matchMedia("(prefers-color-scheme: dark)");

/** A screen in `host`. Read-only unless `interactive`. */
export class Screen {
  #waiting = 0;
  #gone = new AbortController();

  constructor(host, { interactive = false, label }) {
    host.classList.add("screen");
    this.terminal = new Terminal({
      convertEol: !interactive,
      cursorBlink: false,
      cursorInactiveStyle: interactive ? "outline" : "none",
      disableStdin: !interactive,
      fontFamily: "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace",
      fontSize: 13,
      lineHeight: 1.25,
      // Whatever colours a process chooses, its text can be read.
      minimumContrastRatio: 4.5,
      screenReaderMode: true,
      scrollback: LINES,
      theme: theme(),
    });
    // Links of the process's making lead nowhere.
    this.terminal.parser.registerOscHandler(8, () => true);
    this.fit = new FitAddon();
    this.terminal.loadAddon(this.fit);
    this.terminal.open(host);
    this.terminal.textarea.setAttribute("aria-label", label);
    this.terminal.attachCustomKeyEventHandler((event) => this.#isFor(event, interactive));
    const resized = new ResizeObserver(() => host.offsetParent && this.fit.fit());
    resized.observe(host);
    const { signal } = this.#gone;
    signal.addEventListener("abort", () => resized.disconnect());
    dark.addEventListener("change", () => (this.terminal.options.theme = theme()), { signal });
  }

  /** Shows text, or bytes of UTF-8. Resolves when more may come. */
  async write(data) {
    const length = data.length;
    this.#waiting += length;
    const shown = new Promise((resolve) => {
      this.terminal.write(data, () => resolve((this.#waiting -= length)));
    });
    if (this.#waiting > WAITING_BYTES) await shown;
  }

  /** Empties it. */
  clear() {
    this.terminal.reset();
  }

  /** Takes it off the page. */
  dispose() {
    this.#gone.abort();
    this.terminal.dispose();
  }

  /** Whether a key is for the emulator. No key may be caught in it: a way out by the keyboard stays. */
  #isFor(event, interactive) {
    if (interactive && event.key === "Escape" && event.shiftKey) {
      this.terminal.blur();
      return false;
    }
    return interactive || event.key !== "Tab";
  }
}

/** The colours of the page. */
function theme() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(`--${name}`).trim();
  const names = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
  return {
    background: color("screen"),
    foreground: color("screen-ink"),
    cursor: color("accent"),
    selectionBackground: color("selection"),
    ...Object.fromEntries(names.map((name) => [name, color(`ansi-${name}`)])),
  };
}
