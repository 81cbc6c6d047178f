// The dialogs for the user's profile, the deletion of the account, and the name of a room to join.

import { byId, problem, submits } from "../dom.js";
import { ApiError } from "../errors.js";

export class Dialogs {
  #chat;
  #api;
  #profile = byId("profile");
  #deletion = byId("deletion");
  #logOut;

  constructor({ logOut, open }) {
    for (const button of document.querySelectorAll("dialog .close")) {
      button.onclick = () => button.closest("dialog").close();
    }
    byId("me").onclick = () => this.#showProfile();
    this.#logOut = logOut;
    byId("log-out").onclick = () => {
      this.#profile.close();
      logOut();
    };
    byId("delete-account").onclick = () => this.#showEmpty(this.#deletion);
    byId("join-room").onclick = () => this.#showEmpty(byId("room-dialog"));
    submits(this.#profile.querySelector("form"), (fields, form) => this.#save(fields, form));
    submits(this.#deletion.querySelector("form"), ({ username }) => this.#delete(username));
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

  async #delete(username) {
    const { user } = this.#chat.session;
    if (username.trim() !== user.username) throw new ApiError(`This is not your user name, ${user.username}.`);
    await this.#api.remove(user.userId);
    this.#deletion.close();
    this.#profile.close();
    this.#logOut("Your account and your messages are deleted.");
  }

  #showEmpty(dialog) {
    const form = dialog.querySelector("form");
    form.reset();
    problem(form);
    dialog.showModal();
  }
}
