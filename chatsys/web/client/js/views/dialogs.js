// One's own profile, and the name of a room to join.

import { byId, problem, submits } from "../dom.js";
import { ApiError } from "../errors.js";

export class Dialogs {
  #chat;
  #api;
  #profile = byId("profile");

  constructor({ logOut, open }) {
    for (const button of document.querySelectorAll("dialog .close")) {
      button.onclick = () => button.closest("dialog").close();
    }
    byId("me").onclick = () => this.#showProfile();
    byId("log-out").onclick = () => {
      this.#profile.close();
      logOut();
    };
    byId("join-room").onclick = () => this.#showRoom();
    submits(this.#profile.querySelector("form"), (fields, form) => this.#save(fields, form));
    submits(byId("room-dialog").querySelector("form"), ({ room }) => {
      if (!room.trim()) throw new ApiError("A room needs a name.");
      byId("room-dialog").close();
      open(room);
    });
  }

  use(chat, api) {
    this.#chat = chat;
    this.#api = api;
  }

  async #showProfile() {
    const { user, token } = this.#chat.session;
    const form = this.#profile.querySelector("form");
    problem(form);
    byId("profile-who").textContent = token ? `@${user.username}, ${user.email}` : `Guest ${user.displayName}`;
    form.querySelector(".for-accounts").hidden = !token;
    form.querySelector("button.primary").hidden = !token && !this.#chat.room?.live;
    form.reset();
    const fields = form.elements;
    for (const name of ["displayName", "bio", "avatar"]) fields[name].value = user[name] ?? "";
    fields.away.checked = this.#chat.away;
    fields.away.disabled = !this.#chat.room?.live;
    this.#profile.showModal();
  }

  async #save(fields, form) {
    const { user, token } = this.#chat.session;
    const changes = {};
    for (const name of ["displayName", "bio", "avatar"]) if (fields[name] !== (user[name] ?? "")) changes[name] = fields[name];
    const { currentPassword, newPassword } = fields;
    if (Boolean(currentPassword) !== Boolean(newPassword)) {
      throw new ApiError("To change the password, give the current one and the new one.");
    }
    if (newPassword) Object.assign(changes, { currentPassword, newPassword });
    if (token && Object.keys(changes).length) this.#chat.profile((await this.#api.update(user.userId, changes)).user);
    const away = form.elements.away.checked;
    if (away !== this.#chat.away) this.#chat.appear(away);
    this.#profile.close();
  }

  #showRoom() {
    const form = byId("room-dialog").querySelector("form");
    form.reset();
    problem(form);
    byId("room-dialog").showModal();
  }
}
