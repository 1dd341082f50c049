// Elements. Whatever is shown becomes text: nothing here, and nothing that uses it, makes markup of a string.

/** Makes an element with these properties; children that are strings are text, empty ones are left out. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** The element of the page with this id. */
export function byId(id) {
  return document.getElementById(id);
}

/** Shows in `host` why something failed, as the API words it; nothing clears it. */
export function showError(host, error) {
  host.replaceChildren();
  if (!error) return;
  const { message, code, suggestion } = error;
  host.append(make("div", { className: "error", role: "alert" },
    make("p", {}, message, code ? make("code", {}, code) : null),
    suggestion ? make("p", { className: "suggestion" }, suggestion) : null));
}

/** A word on how something stands. `tone` is `good`, `bad`, `busy` or `quiet`. */
export function badge(word, tone) {
  return make("span", { className: `badge ${tone}` }, word);
}

/** A button that runs `act`, is disabled meanwhile, and shows in `errors` why it failed. */
export function button(label, act, errors, properties = {}) {
  const made = make("button", { type: "button", ...properties }, label);
  made.addEventListener("click", async () => {
    made.disabled = true;
    showError(errors, null);
    try {
      await act();
    } catch (error) {
      showError(errors, error);
    } finally {
      made.disabled = false;
    }
  });
  return made;
}

/** A label with its field, and a hint below it. */
export function field(label, input, hint) {
  input.id ||= `field-${input.name}`;
  const hinted = hint ? make("small", { id: `${input.id}-hint` }, hint) : null;
  if (hinted) input.setAttribute("aria-describedby", hinted.id);
  return make("div", { className: "field" }, make("label", { htmlFor: input.id }, label), input, hinted);
}

/** A point in time as a person reads it; the exact one is its title. */
export function time(text) {
  if (!text) return "";
  const at = new Date(text);
  const today = at.toDateString() === new Date().toDateString();
  const shown = today ? at.toLocaleTimeString() : at.toLocaleString();
  return make("time", { dateTime: text, title: text }, shown);
}

/** A duration in milliseconds as a person reads it. */
export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.round((ms % 60_000) / 1000)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Bytes as a person reads them. */
export function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB"];
  const power = bytes ? Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1) : 0;
  return `${(bytes / 1024 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}
