// The page before the chat: log in, register, or join as a guest.

import { byId, problem, submits } from "../dom.js";
import { ApiError } from "../errors.js";
import { guest } from "../session.js";

export class Welcome {
  #tabs = ["login", "register", "guest"].map((name) => byId(`tab-${name}`));

  /** `enter(session)` is called after a login, a registration, or a guest's start. */
  constructor(api, enter) {
    submits(byId("login"), async (fields) => this.#account(await api.login(fields), enter));
    submits(byId("register"), async (fields) => this.#account(await api.register(fields), enter));
    submits(byId("guest"), ({ name }) => {
      if (!name.trim()) throw new ApiError("A name is required.");
      enter(guest(name));
    });
    for (const tab of this.#tabs) {
      tab.addEventListener("click", () => this.#choose(tab));
      tab.addEventListener("keydown", (event) => this.#arrow(event, tab));
    }
  }

  show(note = "") {
    document.title = "chatsys";
    byId("app").hidden = true;
    byId("welcome").hidden = false;
    byId("welcome-note").textContent = note;
    this.#choose(this.#tabs[0]);
    byId("login").elements.username.focus();
  }

  hide() {
    byId("welcome").hidden = true;
    for (const form of document.querySelectorAll("#welcome form")) form.reset();
  }

  #account({ user, token }, enter) {
    enter({ user, token });
  }

  #choose(chosen) {
    for (const tab of this.#tabs) {
      const form = byId(tab.getAttribute("aria-controls"));
      tab.setAttribute("aria-selected", String(tab === chosen));
      tab.tabIndex = tab === chosen ? 0 : -1;
      form.hidden = tab !== chosen;
      problem(form);
    }
  }

  #arrow(event, tab) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = this.#tabs[(this.#tabs.indexOf(tab) + step + this.#tabs.length) % this.#tabs.length];
    this.#choose(next);
    next.focus();
  }
}
