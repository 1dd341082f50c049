// The log of a build or a process, live: a screen with what became of it above.

import { call } from "./api.js";
import { badge, button, make, showError } from "./dom.js";
import { Screen } from "./screen.js";
import { follow } from "./stream.js";

/** A place for one log at a time. */
export class LogPane {
  #following = null;

  constructor(label) {
    this.label = label;
    this.state = make("p", { className: "state", role: "status" });
    this.errors = make("div");
    this.notice = make("p", { className: "notice", hidden: true });
    this.actions = make("div", { className: "actions" });
    this.host = make("div");
    this.element = make("section", { className: "log", "aria-label": label, hidden: true },
      make("div", { className: "row" }, this.state, this.actions), this.errors, this.notice, this.host);
  }

  /**
   * Shows a stream: `start` gives its first answer, or `path()` does, where it also goes on after a cut. `end` is the
   * type of its last event, `onEnd` shows it. Resolves when it has ended; a second call ends the first.
   */
  async show({ title, start, path, end, onEnd, actions = [] }) {
    this.close();
    const following = new AbortController();
    this.#following = following;
    this.element.hidden = false;
    this.notice.hidden = true;
    showError(this.errors, null);
    this.screen ??= new Screen(this.host, { label: this.label });
    this.screen.clear();
    this.actions.replaceChildren(...actions, this.#download(path));
    this.actions.hidden = this.host.hidden = true;
    this.say("busy", "starting", title);
    this.element.scrollIntoView({ block: "nearest" });
    const { signal } = following;
    const onCut = () => this.say("busy", "cut, resuming", title);
    const onResume = () => {
      this.say("busy", "live", title);
      // From here on there is something to cancel, and a log.
      this.actions.hidden = this.host.hidden = false;
    };
    try {
      const events = follow({ start: start && (() => start(signal)), path, end, signal, onCut, onResume });
      let ended = false;
      for await (const event of events) ended = (await this.#take(event, end, onEnd)) || ended;
      if (!ended && !signal.aborted) this.say("quiet", "ended", title);
    } catch (error) {
      if (signal.aborted) return;
      this.say("bad", "failed", title);
      showError(this.errors, error);
    }
  }

  /** Says above the screen how the process stands. What it prints cannot get there. */
  say(tone, word, sentence) {
    this.state.replaceChildren(badge(word, tone), make("span", { title: sentence }, sentence));
  }

  /** Reads no more. */
  close() {
    this.#following?.abort();
    this.#following = null;
  }

  /** Takes the screen off the page. */
  dispose() {
    this.close();
    this.screen?.dispose();
  }

  /** Shows an event; whether it was the last. */
  async #take(event, end, onEnd) {
    if (event.type === "stdout" || event.type === "stderr") await this.screen.write(bytesOf(event));
    else if (event.type === "truncated") {
      this.notice.textContent = `${event.bytes} bytes of older output are no longer there.`;
      this.notice.hidden = false;
    }
    if (event.type === end) onEnd(event);
    return event.type === end;
  }

  /** The log as it was printed, as a file. */
  #download(path) {
    const act = async () => {
      const url = new URL(path(), location.href);
      url.search = "";
      const answer = await call("GET", url.pathname, { headers: { Accept: "text/plain" } });
      const file = URL.createObjectURL(await answer.blob());
      make("a", { href: file, download: `${url.pathname.split("/").at(-2)}.log` }).click();
      URL.revokeObjectURL(file);
    };
    return button("Download", act, this.errors);
  }
}

/** What was printed: text, or bytes that are none. */
function bytesOf({ data, encoding }) {
  return encoding === "base64" ? Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)) : data;
}
