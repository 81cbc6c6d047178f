// Who is in the room, and the card of one person.

import { avatar, button, byId, h, Keyed, nameText } from "../dom.js";
import { isGuest, moment } from "../text.js";

const SHOWN = 200;

export class People {
  #chat;
  #api;
  #list = new Keyed(byId("people-list"));

  constructor(chat, api) {
    this.#chat = chat;
    this.#api = api;
    this.#list.clear();
  }

  render() {
    const { room } = this.#chat;
    const people = room.people();
    const typing = new Set(room.typists());
    byId("people-title").textContent = `${room.live ? "Here now" : "Here before"}, ${people.length}`;
    byId("people-rest").textContent = people.length > SHOWN ? `and ${people.length - SHOWN} more` : "";
    this.#list.arrange(people.slice(0, SHOWN).map((person) => this.#item(person, typing.has(person.displayName))));
  }

  #item(person, typing) {
    const online = person.status.online && this.#chat.room.live;
    const facts = this.#facts(person, typing);
    return {
      key: person.userId,
      signature: `${person.displayName}|${facts}|${online}`,
      build: () => h("li", {}, this.#button(person, facts, online)),
    };
  }

  #facts({ userId, windows, status: { online, lastSeen } }, typing) {
    const facts = [];
    if (typing) facts.push("typing…");
    if (userId === this.#chat.me) facts.push("you");
    if (windows > 1) facts.push(`${windows} windows`);
    if (isGuest(userId)) facts.push("guest");
    if (!online) facts.push(lastSeen ? `away since ${moment(lastSeen)}` : "away");
    return facts.join(", ") || (this.#chat.room.live ? "online" : "was online");
  }

  #button(person, facts, online) {
    const options = { className: "person", onclick: () => this.show(person.userId), "aria-haspopup": "dialog" };
    return button(
      "show",
      options,
      avatar(person.userId, person.displayName),
      h("span", { className: "who" }, nameText(person.displayName), h("small", {}, facts)),
      h("span", { className: `dot${online ? "" : " away"}`, role: "img", "aria-label": online ? "online" : "not online" }),
    );
  }

  /** Open the card of a user. */
  async show(userId) {
    const card = byId("person-card");
    const here = this.#chat.room?.people().find((person) => person.userId === userId);
    if (isGuest(userId)) {
      this.#card(card, userId, here?.displayName ?? "Guest", [h("p", { className: "note" }, "A guest, without an account.")]);
      return;
    }
    this.#card(card, userId, here?.displayName ?? "…", []);
    try {
      const { user } = await this.#api.user(userId);
      const seen = user.status === "online" ? "Online" : user.lastSeen ? `Last seen ${moment(user.lastSeen)}` : "Never seen";
      this.#card(card, userId, user.displayName, [
        h("p", { className: "note" }, `@${user.username}`),
        user.bio ? h("p", { className: "bio", dir: "auto" }, user.bio) : null,
        h("p", { className: "note" }, `${seen}. Here since ${new Date(user.createdAt).toLocaleDateString("en-GB", { dateStyle: "long" })}.`),
      ]);
    } catch (error) {
      this.#card(card, userId, here?.displayName ?? "Nobody", [h("p", { className: "problem", role: "alert" }, error.message)]);
    }
  }

  #card(card, userId, name, rest) {
    card.replaceChildren(
      avatar(userId, name),
      h("h2", { id: "person-name" }, nameText(name)),
      ...rest.filter((part) => part !== null),
    );
    if (!byId("person").open) byId("person").showModal();
  }
}
