// Puts the parts together: the session decides between the welcome and the chat; the address names the room.

import { Api } from "./api.js";
import { Chat } from "./chat.js";
import { Connection } from "./connection.js";
import { byId, onceAFrame } from "./dom.js";
import { Passing } from "./passing.js";
import { Sessions } from "./session.js";
import { count } from "./text.js";
import { Banner } from "./views/banner.js";
import { Composer } from "./views/composer.js";
import { Dialogs } from "./views/dialogs.js";
import { Events } from "./views/events.js";
import { Log } from "./views/log.js";
import { panels } from "./views/panels.js";
import { People } from "./views/people.js";
import { Rooms } from "./views/rooms.js";
import { Welcome } from "./views/welcome.js";

const BASE = new URL("../", document.baseURI);
const FIRST_ROOM = "general";
const ROOMS_EVERY = 10_000;
const TYPING_EVERY = 1_000;

const sessions = new Sessions(localStorage, BASE.pathname);
const api = new Api(BASE, () => sessions.load()?.token);
const welcome = new Welcome(api, (session) => enter(sessions.save(session)));
const side = panels();
const dialogs = new Dialogs({ logOut: leave, open: goTo });
let shown = null;

function goTo(room) {
  location.hash = `#${encodeURIComponent(room)}`;
  if (matchMedia("(max-width: 600px)").matches) side.close();
}

function roomOfAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1)) || FIRST_ROOM;
  } catch {
    return FIRST_ROOM;
  }
}

class Page {
  constructor(session) {
    const passing = new Passing();
    const events = new Events(passing);
    const connection = new Connection(BASE, (...event) => {
      passing.add(...event);
      events.render();
    });
    const stores = { local: localStorage, session: sessionStorage };
    this.chat = new Chat({ session, api, connection, stores, basePath: BASE.pathname });
    this.events = events;
    this.connection = connection;
    const showPerson = (userId) => this.people.show(userId);
    this.people = new People(this.chat, api);
    this.rooms = new Rooms(this.chat, api, { open: goTo, showPerson });
    this.log = new Log(this.chat);
    this.composer = new Composer(this.chat, () => this.log.toEnd());
    this.banner = new Banner(this.chat);
    dialogs.use(this.chat, api);
    this.render = onceAFrame(() => this.draw());
    this.listen();
    this.timers = [
      setInterval(() => !document.hidden && this.chat.refresh(), ROOMS_EVERY),
      setInterval(() => this.chat.room?.typing.size && this.render(), TYPING_EVERY),
    ];
  }

  listen() {
    const { chat } = this;
    chat.addEventListener("changed", this.render);
    chat.addEventListener("opened", () => {
      this.log.opened();
      this.composer.opened();
    });
    chat.addEventListener("joined", () => byId("say").replaceChildren(`You are in ${chat.room.name}.`));
    chat.addEventListener("state", ({ detail }) => this.banner.changed(detail));
    chat.addEventListener("message", ({ detail }) => {
      byId("say").replaceChildren(`${detail.displayName}: ${detail.message.slice(0, 300)}`);
    });
    chat.addEventListener("profile", () => sessions.save(chat.session));
    chat.addEventListener("expired", () => leave("Your session has ended. Please log in again."));
  }

  start() {
    welcome.hide();
    byId("app").hidden = false;
    this.chat.open(roomOfAddress());
    this.chat.start();
    this.focus();
    this.draw();
  }

  /** Focus the composer, except on touch screens, where a keyboard would cover the messages. */
  focus() {
    if (matchMedia("(pointer: fine)").matches) this.composer.focus();
  }

  draw() {
    if (shown !== this) return;
    const { chat } = this;
    const { room } = chat;
    this.log.render();
    this.rooms.render();
    this.people.render();
    this.composer.render();
    this.banner.render();
    byId("room-name").textContent = room.name;
    const facts = [`${room.people().length} here`];
    if (room.total !== undefined) facts.push(count(room.total, "message"));
    byId("room-facts").textContent = room.live ? facts.join(" · ") : "";
    const unread = chat.unreadInAll();
    byId("show-rooms").textContent = unread ? `Rooms, ${unread} new` : "Rooms";
    document.title = `${unread ? `(${unread}) ` : ""}${room.name} · chatsys`;
  }

  stop() {
    this.timers.forEach(clearInterval);
    this.chat.stop();
    this.log.close();
  }
}

function enter(session) {
  shown = new Page(session);
  shown.start();
}

function leave(note = "") {
  shown?.stop();
  shown = null;
  sessions.clear();
  welcome.show(note);
}

addEventListener("hashchange", () => {
  shown?.chat.open(roomOfAddress());
  shown?.focus();
});
addEventListener("online", () => shown?.connection.hurry());
addEventListener("keydown", (event) => {
  if (!shown) return;
  if ((event.ctrlKey || event.metaKey) && event.key === "k") {
    event.preventDefault();
    if (getComputedStyle(byId("rooms")).visibility === "hidden") side.open("rooms");
    byId("search").focus();
  }
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) {
    if (byId("app").dataset.panel) side.close();
    else if (shown.events.open) shown.events.show(false);
  }
});

const known = sessions.load();
if (known) enter(known);
else welcome.show();
