// The line at the top that says when the server is unavailable, and what happens to unsent messages.

import { byId } from "../dom.js";
import { count } from "../text.js";

const SOON = 1_000;

export class Banner {
  #element = byId("banner");
  #since = Date.now();

  constructor(chat) {
    this.chat = chat;
  }

  /** The state has changed. A short interruption is not shown. */
  changed(state) {
    if (state === "live") this.#since = 0;
    else if (!this.#since) this.#since = Date.now();
    clearTimeout(this.timer);
    if (state !== "live") this.timer = setTimeout(() => this.render(), SOON);
    this.render();
  }

  render() {
    const words = this.#words();
    this.#element.hidden = !words;
    if (this.#element.textContent !== words) this.#element.textContent = words;
  }

  #words() {
    const { state, problem, outbox } = this.chat;
    if (state === "refused") return problem;
    const early = Date.now() - this.#since < SOON;
    if (state === "live" || (early && state !== "lost")) return "";
    const waiting = outbox.waiting();
    const verb = waiting === 1 ? "is" : "are";
    const promise = waiting ? ` ${count(waiting, "message")} ${verb} waiting and will be sent once.` : "";
    if (state === "waiting") return `The server can't reach its database. Trying again…${promise}`;
    if (state === "lost") return `Connection lost. Reconnecting…${promise}`;
    return `Connecting…${promise}`;
  }
}
