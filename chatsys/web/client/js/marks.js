// Up to which message each room was read in this browser, and so how many messages are new in the other rooms.

const MOST = 500;

export class Marks {
  #marks;
  #heads = new Map();
  #storage;
  #key;

  constructor(storage, key) {
    this.#storage = storage;
    this.#key = key;
    try {
      this.#marks = new Map(JSON.parse(storage.getItem(key) ?? "[]"));
    } catch {
      this.#marks = new Map();
    }
  }

  /** The `{seq, epoch}` of a room, or undefined if it was never open. */
  of(room) {
    return this.#marks.get(room);
  }

  /** A room was read up to `seq`. */
  set(room, seq, epoch) {
    const known = this.#marks.get(room);
    if (known && known.seq === seq && known.epoch === epoch) return;
    this.#marks.delete(room);
    this.#marks.set(room, { seq, epoch });
    if (this.#marks.size > MOST) this.#marks.delete(this.#marks.keys().next().value);
    this.head(room, seq);
    try {
      this.#storage.setItem(this.#key, JSON.stringify([...this.#marks]));
    } catch {
      // The storage is full or closed: the marks last as long as this page.
    }
  }

  /** The number of the newest message of a room. */
  head(room, seq) {
    this.#heads.set(room, seq);
  }

  /** How many messages are new. If the newest number is below the mark's, the room's numbering started again. */
  unread(room) {
    const mark = this.#marks.get(room);
    const head = this.#heads.get(room);
    if (mark === undefined || head === undefined) return 0;
    return head >= mark.seq ? head - mark.seq : head;
  }
}
