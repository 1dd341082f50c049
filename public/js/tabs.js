// Tabs, as the ARIA practices have them: the arrow keys go from one to the next.

import { make } from "./dom.js";

/** A list of tabs over their panels. `tabs` maps a title to the panel and to what is done when it is first shown. */
export function makeTabs(label, tabs) {
  const list = make("div", { role: "tablist", "aria-label": label, className: "tabs" });
  const pairs = tabs.map(({ title, panel, shown }) => {
    const id = `tab-${title.toLowerCase()}`;
    const tab = make("button", { type: "button", role: "tab", id, "aria-controls": `${id}-panel` }, title);
    Object.assign(panel, { id: `${id}-panel`, hidden: true });
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", id);
    tab.addEventListener("click", () => select(tab));
    list.append(tab);
    return { tab, panel, shown };
  });
  list.addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return;
    const at = pairs.findIndex(({ tab }) => tab === document.activeElement);
    const next = pairs[(at + step + pairs.length) % pairs.length].tab;
    next.focus();
    select(next);
  });
  select(pairs[0].tab);
  return make("div", {}, list, ...pairs.map(({ panel }) => panel));

  function select(chosen) {
    for (const { tab, panel, shown } of pairs) {
      const selected = tab === chosen;
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
      panel.hidden = !selected;
      if (selected) shown?.();
    }
  }
}
