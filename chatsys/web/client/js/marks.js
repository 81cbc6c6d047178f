// Up to which message each room was read in this browser, and so how many are new in the rooms that are not open.

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

  /** `{seq, epoch}` of a room, undefined if it was never open. */
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
      // The storage is full or closed: the marks hold for this page.
    }
  }

  /** The number of the newest message of a room. */
  head(room, seq) {
    this.#heads.set(room, seq);
  }

  /** How many messages are new. A number before the mark's means that the room began anew. */
  unread(room) {
    const mark = this.#marks.get(room);
    const head = this.#heads.get(room);
    if (mark === undefined || head === undefined) return 0;
    return head >= mark.seq ? head - mark.seq : head;
  }
}
