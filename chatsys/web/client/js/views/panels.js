// On narrow screens the rooms and the people are panels that come and go; Escape and the shade close them.

import { byId } from "../dom.js";

const PANELS = { rooms: byId("show-rooms"), people: byId("show-people") };

export function panels() {
  const show = (name) => {
    const open = byId("app").dataset.panel;
    byId("app").dataset.panel = name ?? "";
    for (const [panel, button] of Object.entries(PANELS)) button.setAttribute("aria-expanded", String(panel === name));
    if (name) byId(name).querySelector("button, input")?.focus();
    else if (open) PANELS[open].focus();
  };
  for (const [name, button] of Object.entries(PANELS)) {
    button.onclick = () => show(byId("app").dataset.panel === name ? null : name);
  }
  byId("shade").onclick = () => show(null);
  return { close: () => byId("app").dataset.panel && show(null), open: show };
}
