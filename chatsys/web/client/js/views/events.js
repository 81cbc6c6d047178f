// The drawer that shows events as they pass, so that a user can learn the protocol by watching.

import { byId, h, onceAFrame } from "../dom.js";
import { clock } from "../text.js";

const WAYS = { in: ["←", "from the server"], out: ["→", "to the server"], ack: ["✓", "acknowledgement"] };

export class Events {
  #passing;
  #drawer = byId("events");
  #list = byId("event-list");
  #toggle = byId("show-events");

  constructor(passing) {
    this.#passing = passing;
    this.render = onceAFrame(() => this.#draw());
    this.#toggle.onclick = () => this.show(this.#drawer.hidden);
    byId("close-events").onclick = () => this.show(false);
    byId("clear-events").onclick = () => {
      passing.clear();
      this.#list.replaceChildren();
    };
  }

  get open() {
    return !this.#drawer.hidden;
  }

  show(open) {
    this.#drawer.hidden = !open;
    this.#toggle.setAttribute("aria-expanded", String(open));
    if (open) this.#draw();
    else this.#toggle.focus();
  }

  /** Add new entries in front; unfolded entries stay unfolded. */
  #draw() {
    if (this.#drawer.hidden) return;
    const newest = Number(this.#list.firstElementChild?.dataset.number ?? 0);
    const fresh = this.#passing.entries.filter((entry) => entry.number > newest);
    this.#list.prepend(...fresh.map((entry) => this.#entry(entry)));
    while (this.#list.children.length > this.#passing.entries.length) this.#list.lastElementChild.remove();
  }

  #entry({ number, direction, name, at, payload }) {
    const [symbol, words] = WAYS[direction];
    const json = JSON.stringify(payload, null, 2) ?? "";
    const summary = h(
      "summary",
      {},
      h("time", {}, clock(at)),
      h("span", { className: `way ${direction}`, title: words, role: "img", "aria-label": words }, symbol),
      h("b", {}, name),
      h("code", {}, (JSON.stringify(payload) ?? "").slice(0, 160)),
    );
    const item = h("li", {}, h("details", {}, summary, h("pre", {}, json)));
    item.dataset.number = number;
    return item;
  }
}
