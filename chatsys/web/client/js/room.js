// The state of the open room. No DOM, no network: events go in, the views read the fields.

/** Messages that are kept: the newest, and more of them while somebody reads further up. */
export const KEPT = 2_000;
export const KEPT_READING = 10_000;

const NOTICES = 100;

/** Whether the server takes this as the name of a room. */
export const isRoomName = (name) => name.trim() !== "" && [...name].length <= 100 && !name.includes("\0");

export class Room {
  /** `mark` is the number of the last message read before, or undefined for a room that was never open. */
  constructor(name, me, mark) {
    this.name = name;
    this.me = me;
    this.mark = mark;
    /** Messages with greater numbers are new; it stays the same while the room is open. */
    this.divider = mark?.seq;
    this.epoch = undefined;
    /** Every message up to this number has come; a replay starts after it. */
    this.through = 0;
    this.messages = [];
    this.more = false;
    this.users = [];
    this.typing = new Map();
    this.notices = [];
    this.live = false;
    this.total = undefined;
    this.#byId = new Map();
  }

  #byId;
  #stash = null;

  get last() {
    return this.messages.at(-1)?.seq ?? 0;
  }

  has(id) {
    return this.#byId.has(id);
  }

  /** A join was sent. Events wait until its answer, because they may still belong to the previous room. */
  joining() {
    this.live = false;
    this.typing.clear();
    this.#stash = [];
  }

  /** The connection is lost. */
  left() {
    this.live = false;
    this.typing.clear();
    this.#stash = null;
  }

  /** The answer to the join; `replay` says whether only the messages after `through` were requested. */
  joined(answer, replay) {
    const stash = this.#stash ?? [];
    const at = stash.findLastIndex(([name]) => name === "message-history");
    const users = stash.findLast(([name]) => name === "room-users");
    this.#stash = null;
    this.me = answer.userId;
    if (this.epoch === undefined) this.#judgeMark(answer);
    if (!replay || !answer.complete) this.#restart(answer);
    this.epoch = answer.epoch;
    if (at >= 0) this.#history(stash[at][1], replay && answer.complete);
    this.through = Math.max(this.through, answer.lastSeq);
    this.live = true;
    if (users) this.apply(...users);
    for (const [name, payload] of stash.slice(at + 1)) this.apply(name, payload);
  }

  /** Ignore a mark from another epoch of the room's numbers. */
  #judgeMark(answer) {
    if (this.mark && (this.mark.epoch !== answer.epoch || this.mark.seq > answer.lastSeq)) this.divider = undefined;
  }

  #restart(answer) {
    if (this.epoch !== undefined && this.epoch !== answer.epoch) {
      this.divider = undefined;
      this.notices = [];
    }
    this.messages = [];
    this.#byId.clear();
    this.through = 0;
    this.more = false;
  }

  #history(messages, isReplay) {
    for (const message of messages) this.#insert(message);
    if (!isReplay) this.more = (this.messages[0]?.seq ?? 1) > 1;
  }

  /** A page of older messages, oldest first, as GET .../messages?before= gives it. */
  older(page) {
    const known = page.filter((message) => !this.#byId.has(message.id));
    for (const message of known) this.#byId.set(message.id, message);
    this.messages = [...known, ...this.messages].sort((one, other) => one.seq - other.seq);
    this.more = page.length > 0 && page[0].seq > 1;
  }

  /** One event from the server. */
  apply(name, payload) {
    if (this.#stash) {
      this.#stash.push([name, payload]);
      return;
    }
    if (this.live) this.#events[name]?.(payload);
  }

  #events = {
    "receive-message": (message) => {
      if (message.room !== this.name) return;
      this.through = Math.max(this.through, message.seq);
      this.typing.delete(message.userId);
      this.#insert(message);
    },
    "room-users": (users) => {
      this.users = users.filter((user) => user.room === this.name);
    },
    "user-joined": (user) => this.#notice("joined", user),
    "user-left": (user) => {
      this.typing.delete(user.userId);
      this.#notice("left", user);
    },
    "user-status-update": (change) => {
      const status = { online: change.online, lastSeen: change.lastSeen };
      this.users = this.users.map((user) => (user.userId === change.userId ? { ...user, status } : user));
    },
    "user-typing": (change) => {
      if (change.isTyping) this.typing.set(change.userId, { name: change.displayName, at: Date.now() });
      else this.typing.delete(change.userId);
    },
    "message-status-update": (update) =>
      this.#change(update.messageId, { delivered: true, deliveredTo: update.deliveredTo }),
    "message-read-update": (update) => this.#readBy(update.messageId, update.readBy),
    "messages-marked-read": (update) => {
      for (const id of update.messageIds) {
        const message = this.#byId.get(id);
        if (message) this.#readBy(id, union(message.readBy, [update.readBy]));
      }
    },
  };

  #readBy(id, readBy) {
    const message = this.#byId.get(id);
    if (!message) return;
    const deliveredTo = union(message.deliveredTo, readBy);
    this.#change(id, { read: true, readBy, delivered: true, deliveredTo });
  }

  #change(id, fields) {
    const message = this.#byId.get(id);
    if (message) Object.assign(message, fields);
  }

  #notice(kind, user) {
    if (user.userId === this.me) return;
    this.notices.push({ kind, name: user.displayName, userId: user.userId, after: this.last, at: user.timestamp });
    this.notices.splice(0, this.notices.length - NOTICES);
  }

  /** Add this user's message after its acknowledgement; its broadcast may come before or after. */
  confirmed(message) {
    if (message.seq > (this.messages[0]?.seq ?? 0)) this.#insert(message);
  }

  #insert(message) {
    if (this.#byId.has(message.id)) return;
    this.#byId.set(message.id, message);
    let at = this.messages.length;
    while (at > 0 && this.messages[at - 1].seq > message.seq) at -= 1;
    this.messages.splice(at, 0, message);
  }

  /** Drop the oldest messages above the limit; scrolling back fetches them again. */
  trim(reading) {
    const most = reading ? KEPT_READING : KEPT;
    if (this.messages.length <= most) return;
    for (const message of this.messages.splice(0, this.messages.length - most)) this.#byId.delete(message.id);
    this.more = true;
  }

  /** The loaded messages of others that this user has not read. */
  unread() {
    return this.messages.filter((message) => message.userId !== this.me && !message.readBy.includes(this.me));
  }

  /** The users who type, without those whose last event is older than `patience` milliseconds. */
  typists(now = Date.now(), patience = 6_000) {
    return [...this.typing.values()].filter((typist) => now - typist.at < patience).map((typist) => typist.name);
  }

  /** One entry for each user who is here, with the number of that user's windows, in order of names. */
  people() {
    const found = new Map();
    for (const user of this.users) {
      const known = found.get(user.userId);
      if (known) known.windows += 1;
      else found.set(user.userId, { ...user, windows: 1 });
    }
    return [...found.values()].sort((one, other) => one.displayName.localeCompare(other.displayName));
  }

  /** The name of a user who is here or has written here. */
  nameOf(userId) {
    const here = this.users.find((user) => user.userId === userId);
    return (here ?? this.messages.findLast((message) => message.userId === userId))?.displayName;
  }
}

const union = (one, other) => [...new Set([...one, ...other])];
