// The chat of one user: joins, sends, acknowledges and keeps unread counts. No DOM: the views read and call it.

import { NoAnswer } from "./errors.js";
import { Marks } from "./marks.js";
import { Outbox } from "./outbox.js";
import { isRoomName, Room } from "./room.js";

export const PAGE = 100;
const ROOM_PAGES = 5;
const HEADS_AT_ONCE = 8;
const REST = 1_500;
const LATER = new Set(["store_unavailable", "overloaded", "no_session"]);
/** A message with more JSON may not fit into a packet, and the server would close the connection. */
const PACKET = 900_000;

export class Chat extends EventTarget {
  #api;
  #connection;
  #busy = false;
  #again;
  #known = new Map();
  #polling = false;
  #seen = false;
  #joins = 0;

  constructor({ session, api, connection, stores, basePath }) {
    super();
    this.#api = api;
    this.#connection = connection;
    this.session = session;
    this.room = null;
    /** connecting, joining, live, waiting (the server can't take a join now), lost */
    this.state = "connecting";
    this.rooms = [];
    this.problem = "";
    this.away = false;
    const owner = `chatsys:${basePath}:${session.user.userId}`;
    this.marks = new Marks(stores.local, `${owner}:marks`);
    this.outbox = new Outbox(stores.session, `${owner}:outbox`);
  }

  start() {
    this.#connection.open({
      up: () => this.#join(),
      down: () => {
        this.room?.left();
        this.#set("lost");
      },
      event: (name, payload) => this.#event(name, payload),
    });
  }

  stop() {
    clearTimeout(this.#again);
    this.#joins += 1;
    this.#connection.close();
  }

  get me() {
    return this.room?.me ?? this.session.user.userId;
  }

  /** Go to a room; does nothing for the open one. */
  open(name) {
    if (this.room?.name === name) return;
    this.room = new Room(name, this.session.user.userId, this.marks.of(name));
    this.#seen = false;
    this.#emit("opened");
    if (this.#connection.connected) this.#join();
    else this.#changed();
  }

  /** Write to the open room; return a sentence that says why not, or "". */
  send(text) {
    if (text.includes("\0")) return "A message can't contain the character U+0000.";
    if (new TextEncoder().encode(JSON.stringify(text)).length > PACKET) return "This message is too long: the limit is 900 kB.";
    if (!this.outbox.add(this.room.name, text)) return "Too many messages wait to be sent. Wait until the server is back.";
    this.#changed();
    this.#pump();
    return "";
  }

  retry(id) {
    const item = this.outbox.find(id);
    if (item) this.outbox.set(item, "waiting");
    this.#changed();
    this.#pump();
  }

  discard(id) {
    const item = this.outbox.find(id);
    if (item) this.outbox.remove(item);
    this.#changed();
  }

  typing(value) {
    if (this.room?.live) this.#quietly("typing", value);
  }

  /** Show this user as away, or as online again, in this room and in rooms opened later. */
  appear(away) {
    this.away = away;
    if (this.room?.live) this.#quietly("update-online-status", { online: !away });
  }

  /** Whether the newest message is on the screen; then the received messages count as read. */
  seen(value) {
    this.#seen = value;
    if (value) this.#markRead();
  }

  /** Fetch the page before the oldest message. Throws ApiError. */
  async older() {
    const room = this.room;
    const page = await this.#api.messages(room.name, { limit: PAGE, before: room.messages[0]?.seq });
    if (this.room !== room) return;
    room.older(page.data);
    this.#changed();
  }

  /** Fetch the rooms, and for rooms that were open before, how many messages are new. */
  async refresh() {
    if (this.#polling || !this.#connection.connected) return;
    this.#polling = true;
    try {
      this.rooms = await this.#allRooms();
      const moved = this.rooms.filter(
        (room) => this.marks.of(room.name) && this.#known.get(room.name) !== room.lastActivity && room.name !== this.room?.name,
      );
      for (const room of moved.slice(0, HEADS_AT_ONCE)) {
        const newest = await this.#api.messages(room.name, { limit: 1 });
        this.marks.head(room.name, newest.data[0]?.seq ?? 0);
        this.#known.set(room.name, room.lastActivity);
      }
    } catch {
      // The next attempt is enough: the banner shows the connection's state.
    } finally {
      this.#polling = false;
      this.#changed();
    }
  }

  /** The number of new messages of a room; for the open one, those not on the screen yet. */
  unread(name) {
    if (name === this.room?.name) return this.#seen ? 0 : this.room.unread().filter((m) => m.seq > this.#markOf()).length;
    return this.marks.unread(name);
  }

  unreadInAll() {
    const names = new Set([this.room.name, ...this.rooms.map((room) => room.name)]);
    return [...names].reduce((sum, name) => sum + this.unread(name), 0);
  }

  /** This user's profile has changed. */
  profile(user) {
    Object.assign(this.session.user, user);
    this.#emit("profile");
    this.#changed();
  }

  #markOf() {
    const mark = this.marks.of(this.room.name);
    return mark && mark.epoch === this.room.epoch ? mark.seq : 0;
  }

  async #allRooms() {
    const rooms = [];
    let after = "";
    for (let page = 0; page < ROOM_PAGES && after !== undefined; page += 1) {
      const answer = await this.#api.rooms(after);
      rooms.push(...answer.data);
      after = answer.next;
    }
    return rooms;
  }

  async #join() {
    const room = this.room;
    if (!room) return;
    clearTimeout(this.#again);
    this.#joins += 1;
    const join = this.#joins;
    const { user, token } = this.session;
    const replay = room.epoch !== undefined;
    const from = replay ? { since: room.through, epoch: room.epoch } : {};
    const who = token ? { token } : { username: user.username, userId: user.userId };
    room.joining();
    this.#set("joining");
    let answer;
    try {
      answer = await this.#connection.request("join", { room: room.name, ...who, ...from });
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      if (join === this.#joins && this.#connection.connected) this.#joinLater();
      return;
    }
    if (join !== this.#joins) return;
    if (answer.success) this.#joined(room, answer, replay);
    else if (LATER.has(answer.code)) this.#joinLater();
    else this.#refused(answer);
  }

  #joined(room, answer, replay) {
    room.joined(answer, replay);
    this.problem = "";
    for (const message of room.messages) if (message.userId === room.me) this.outbox.arrived(message);
    this.#set("live");
    this.#deliver(room.unread());
    if (this.away) this.appear(true);
    this.#emit("joined");
    if (this.#seen) this.#markRead(replay);
    this.#pump();
    this.#count(room);
    this.refresh();
  }

  #joinLater() {
    this.room?.left();
    this.#set("waiting");
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.#connection.connected && this.#join(), REST);
  }

  /** A token is sent without a name, so that a bad token fails the join instead of making the user a guest. */
  #refused(answer) {
    this.room.left();
    if (answer.code === "join_refused" && this.session.token && isRoomName(this.room.name)) {
      this.#emit("expired");
      return;
    }
    this.problem = `This room can't be joined: ${answer.message}.`;
    this.#set("refused");
  }

  async #count(room) {
    try {
      room.total = (await this.#api.stats(room.name)).data.totalMessages;
      this.#changed();
    } catch {
      room.total = undefined;
    }
  }

  #event(name, payload) {
    const room = this.room;
    if (!room) return;
    room.apply(name, payload);
    if (name === "receive-message" && room.live && payload.room === room.name) this.#received(room, payload);
    this.#changed();
  }

  #received(room, message) {
    if (room.total !== undefined) room.total += 1;
    if (message.userId === room.me) {
      this.outbox.arrived(message);
    } else {
      this.#emit("message", message);
      if (this.#seen) this.#markRead();
      else this.#deliver([message]);
    }
    room.trim(!this.#seen);
  }

  #deliver(messages) {
    const room = this.room;
    for (const message of messages.slice(-PAGE)) {
      if (message.deliveredTo.includes(room.me)) continue;
      message.deliveredTo = [...message.deliveredTo, room.me];
      this.#quietly("message-delivered", { messageId: message.id, room: room.name });
    }
  }

  /** `again`: the connection was lost, and perhaps receipts of read messages with it. */
  #markRead(again = false) {
    const room = this.room;
    if (!room?.live) return;
    this.marks.set(room.name, room.through, room.epoch);
    const unread = room.unread();
    for (const message of unread) message.readBy = [...message.readBy, room.me];
    if (again || unread.length > 1) this.#quietly("mark-all-read", { room: room.name });
    else if (unread.length === 1) this.#quietly("message-read", { messageId: unread[0].id, room: room.name });
  }

  /** Send the waiting messages of this room, one after the other. */
  async #pump() {
    const room = this.room;
    if (this.#busy || !room?.live) return;
    const item = this.outbox.next(room.name);
    if (!item) return;
    this.#busy = true;
    this.outbox.set(item, "sending");
    this.#changed();
    let rest = 0;
    try {
      const answer = await this.#connection.request("send-message", { message: item.text, clientMessageId: item.id });
      if (answer.success) this.#stored(room, item, answer);
      else if (LATER.has(answer.code)) rest = REST;
      else this.outbox.set(item, "failed", answer.message);
    } catch (error) {
      if (!(error instanceof NoAnswer)) throw error;
      rest = this.#connection.connected ? REST : 0;
    }
    this.#busy = false;
    if (item.state === "sending") this.outbox.set(item, "waiting");
    this.#changed();
    if (rest) setTimeout(() => this.#pump(), rest);
    else this.#pump();
  }

  #stored(room, item, answer) {
    this.outbox.remove(item);
    const { username, displayName = username, avatar = "" } = this.session.user;
    room.confirmed({
      id: answer.id,
      seq: answer.seq,
      timestamp: answer.timestamp,
      userId: room.me,
      room: room.name,
      message: item.text,
      username,
      displayName,
      avatar,
      delivered: false,
      deliveredTo: [],
      read: false,
      readBy: [],
    });
  }

  /** An event whose loss does no harm. */
  #quietly(name, payload) {
    this.#connection.request(name, payload).catch((error) => {
      if (!(error instanceof NoAnswer)) throw error;
    });
  }

  #set(state) {
    this.state = state;
    this.#emit("state", state);
    this.#changed();
  }

  #changed() {
    this.#emit("changed");
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
