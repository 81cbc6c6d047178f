// The list of rooms with their unread counts, the search for people and rooms, and this user.

import { avatar, button, byId, h, Keyed, nameText } from "../dom.js";
import { count } from "../text.js";

const OTHERS = 50;
const FOUND = 20;
const PAUSE = 250;

export class Rooms {
  #chat;
  #api;
  #showPerson;
  #search = byId("search");
  #found = byId("found");
  #searches = 0;
  #timer;
  #me = new Keyed(byId("me"));
  #yours = new Keyed(byId("your-rooms"));
  #others = new Keyed(byId("other-rooms"));

  constructor(chat, api, { open, showPerson }) {
    this.#chat = chat;
    this.#api = api;
    this.#showPerson = showPerson;
    for (const list of [this.#me, this.#yours, this.#others]) list.clear();
    this.open = (name) => {
      this.#clear();
      open(name);
    };
    this.#search.oninput = () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#find(this.#search.value.trim()), PAUSE);
    };
    this.#search.onkeydown = (event) => {
      if (event.key === "Escape") this.#clear();
      if (event.key === "ArrowDown") this.#found.querySelector("button")?.focus();
    };
  }

  render() {
    const { session, rooms, room, marks, state } = this.#chat;
    const { user, token } = session;
    const words = `${token ? "" : "guest, "}${state === "live" ? "online" : "not connected"}`;
    this.#me.arrange([
      {
        key: "me",
        signature: `${user.userId}|${user.displayName}|${words}`,
        build: () =>
          h(
            "span",
            { className: "person" },
            avatar(user.userId, user.displayName),
            h("span", { className: "who" }, nameText(user.displayName), h("small", {}, `${words} · edit profile`)),
          ),
      },
    ]);
    const listed = new Map(rooms.map((one) => [one.name, one]));
    if (room && !listed.has(room.name)) listed.set(room.name, { name: room.name, userCount: 0, lastActivity: "" });
    const all = [...listed.values()].sort((one, other) => one.name.localeCompare(other.name));
    const yours = all.filter((one) => marks.of(one.name) || one.name === room?.name);
    const others = all.filter((one) => !yours.includes(one));
    const busiest = others.sort((one, other) => other.lastActivity.localeCompare(one.lastActivity)).slice(0, OTHERS);
    byId("other-title").hidden = !busiest.length;
    byId("other-rest").textContent =
      others.length > OTHERS ? `${count(others.length - OTHERS, "more room")}: search for them.` : "";
    this.#yours.arrange(yours.map((one) => this.#item(one)));
    this.#others.arrange(busiest.map((one) => this.#item(one)));
  }

  #item({ name }) {
    const unread = this.#chat.unread(name);
    const waiting = this.#chat.outbox.waiting(name);
    const current = name === this.#chat.room?.name;
    return {
      key: name,
      signature: `${unread}|${waiting}|${current}`,
      build: () => h("li", {}, this.#entry(name, unread, waiting, current)),
    };
  }

  #entry(name, unread, waiting, current) {
    return button(
      "open",
      { className: "room", onclick: () => this.open(name), "aria-current": current && "page" },
      h("span", { className: "name", dir: "auto" }, name),
      waiting && !current ? h("span", { className: "facts" }, `${waiting} waiting`) : null,
      unread
        ? h("span", { className: "n" }, unread > 999 ? "999+" : `${unread}`, h("span", { className: "unseen" }, " unread"))
        : null,
    );
  }

  #clear() {
    clearTimeout(this.#timer);
    this.#search.value = "";
    this.#find("");
  }

  async #find(text) {
    this.#searches += 1;
    const search = this.#searches;
    this.#found.hidden = !text;
    byId("all-rooms").hidden = Boolean(text);
    if (!text) return this.#found.replaceChildren();
    let people;
    let trouble;
    try {
      people = (await this.#api.search(text)).results;
    } catch (error) {
      people = [];
      trouble = error.message;
    }
    if (search !== this.#searches) return undefined;
    const rooms = this.#chat.rooms.filter((room) => room.name.toLocaleLowerCase().includes(text.toLocaleLowerCase()));
    return this.#found.replaceChildren(
      h("h2", {}, `People, ${people.length}`),
      h("ul", {}, ...people.map((person) => h("li", {}, this.#person(person)))),
      ...(trouble ? [h("p", { className: "note", role: "alert" }, trouble)] : []),
      h("h2", {}, `Rooms, ${rooms.length}`),
      h("ul", {}, ...rooms.slice(0, FOUND).map((room) => this.#item(room).build())),
    );
  }

  #person(person) {
    const online = person.status === "online";
    return button(
      "show",
      { className: "person", onclick: () => this.#showPerson(person.userId), "aria-haspopup": "dialog" },
      avatar(person.userId, person.displayName),
      h("span", { className: "who" }, nameText(person.displayName), h("small", {}, `@${person.username}`)),
      h("span", { className: `dot${online ? "" : " away"}`, role: "img", "aria-label": online ? "online" : "offline" }),
    );
  }
}
