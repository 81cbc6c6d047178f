// Messages that are being sent. Each has its own id (clientMessageId), so sending it again is harmless.

const MOST = 200;

export class Outbox {
  #items;
  #storage;
  #key;

  /** Loads from `storage` the messages that an earlier page of this tab left. */
  constructor(storage, key) {
    this.#storage = storage;
    this.#key = key;
    this.#items = read(storage, key);
  }

  /** The messages to show in a room, oldest first, without those whose broadcast has already come. */
  of(room) {
    return this.#items.filter((item) => item.room === room && !item.arrived);
  }

  /** How many are still to be sent, in all rooms together or in one. */
  waiting(room) {
    return this.#items.filter((item) => item.state !== "failed" && (room === undefined || item.room === room)).length;
  }

  /** Add a new message; returns null if too many wait already. */
  add(room, text, now = Date.now()) {
    if (this.#items.length >= MOST) return null;
    const item = { id: crypto.randomUUID(), room, text, at: new Date(now).toISOString(), state: "waiting" };
    this.#items.push(item);
    this.#save();
    return item;
  }

  /** The message to send next in a room. They are sent one after the other, so they stay in order. */
  next(room) {
    return this.#items.find((item) => item.room === room && item.state === "waiting");
  }

  /** Change a message: `sending`, `waiting` again, or `failed` with a reason. */
  set(item, state, reason) {
    item.state = state;
    item.reason = reason;
    this.#save();
  }

  remove(item) {
    this.#items = this.#items.filter((other) => other !== item);
    this.#save();
  }

  /** A broadcast of this user: most likely the message whose acknowledgement is due, which is then hidden here. */
  arrived(message) {
    const item = this.#items.find(
      (one) => one.state === "sending" && one.room === message.room && one.text === message.message && !one.arrived,
    );
    if (item) item.arrived = true;
  }

  find(id) {
    return this.#items.find((item) => item.id === id);
  }

  #save() {
    const kept = this.#items.map(({ id, room, text, at, state, reason }) => ({ id, room, text, at, state, reason }));
    try {
      this.#storage.setItem(this.#key, JSON.stringify(kept));
    } catch {
      // The storage is full or closed: the messages wait only in this page.
    }
  }
}

function read(storage, key) {
  try {
    const items = JSON.parse(storage.getItem(key) ?? "[]");
    return items.map((item) => ({ ...item, state: item.state === "failed" ? "failed" : "waiting" })).slice(0, MOST);
  } catch {
    return [];
  }
}
