// The page: which sandbox it shows, by the part of its address after the hash, and the key it calls with.

import { ask, hasKey, setKey } from "./api.js";
import { byId, showError } from "./dom.js";
import { SandboxList } from "./list.js";
import { SandboxView } from "./sandbox.js";

const list = new SandboxList(askForKey);
let view = null;

addEventListener("hashchange", route);
addEventListener("focus", () => list.refresh());
byId("refresh").addEventListener("click", () => list.refresh());
byId("change-key").addEventListener("click", () => askForKey(null));
byId("open").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = `#/${byId("open-id").value}`;
  event.target.reset();
});
byId("key-form").addEventListener("submit", () => {
  setKey(byId("key").value);
  byId("key").value = "";
  start();
});

start();

async function start() {
  byId("change-key").hidden = !hasKey();
  if (await list.refresh()) route();
  try {
    const { version } = await ask("GET", "/health");
    byId("service").textContent = `version ${version}`;
  } catch (error) {
    byId("service").textContent = error.message;
  }
}

/** Shows the sandbox that the address names. */
function route() {
  const id = decodeURIComponent(location.hash.replace(/^#\/?/, ""));
  list.mark(id);
  if (id === view?.id) return view?.refresh();
  view?.close();
  const main = byId("sandbox");
  main.replaceChildren();
  view = new SandboxView(main, id, () => list.refresh());
  document.title = id ? `${id} · Sandboxes` : "Sandboxes";
}

function askForKey(error) {
  byId("change-key").hidden = false;
  showError(byId("key-error"), hasKey() ? error : null);
  if (!byId("key-dialog").open) byId("key-dialog").showModal();
}
