// The messages: rows that stay the same elements, a scroll position that never jumps, older pages on the way up.

import { avatar, button, byId, h, Keyed, nameText } from "../dom.js";
import { receipt, rowsOf } from "../rows.js";
import { count, time } from "../text.js";

const NEAR = 40;
const AHEAD = 600;
const SHOWN = 4_000;

export class Log {
  #chat;
  #element = byId("log");
  #pill = byId("pill");
  #rows = new Keyed(this.#element);
  #whole = new Set();
  #pinned = true;
  #placed = false;
  #fetching = false;
  #failed = false;

  constructor(chat) {
    this.#chat = chat;
    this.#element.onscroll = () => this.#scrolled();
    this.#pill.onclick = () => this.toEnd();
    this.watcher = new ResizeObserver(() => this.#settle());
    this.watcher.observe(this.#element);
    this.onVisible = () => this.#look();
    document.addEventListener("visibilitychange", this.onVisible);
    this.onMessage = () => this.#scrolled(); // the scroll event may not have come yet
    chat.addEventListener("message", this.onMessage);
  }

  close() {
    this.watcher.disconnect();
    document.removeEventListener("visibilitychange", this.onVisible);
    this.#chat.removeEventListener("message", this.onMessage);
    this.#element.replaceChildren();
  }

  /** Another room is open. */
  opened() {
    this.#rows.clear();
    this.#whole.clear();
    this.#pinned = true;
    this.#placed = false;
    this.#failed = false;
  }

  toEnd() {
    this.#pinned = true;
    this.#settle();
    this.#look();
  }

  render() {
    const { room, outbox, state } = this.#chat;
    const anchor = this.#pinned ? null : this.#anchor();
    const rows = rowsOf(room, outbox.of(room.name));
    if (this.#placed || room.live) this.#rows.arrange([...this.#head(room, rows, state), ...rows].map((row) => this.#item(row)));
    if (!this.#placed && room.live) this.#place();
    else if (anchor) this.#element.scrollTop += anchor.row.offsetTop - anchor.top;
    else this.#settle();
    this.#showPill();
    if (this.#placed) this.#fetchAhead();
  }

  /** The row above the oldest message. */
  #head(room, rows, state) {
    if (this.#failed) return [{ kind: "failed", key: "head" }];
    if (room.more) return [{ kind: "more", key: "head" }];
    if (!rows.length && state === "live") return [{ kind: "empty", key: "head", name: room.name }];
    return [];
  }

  #item(row) {
    return { key: row.key, signature: this.#signature(row), build: () => this.#kinds[row.kind](row) };
  }

  #signature(row) {
    if (row.kind === "message") {
      const { readBy, deliveredTo, id } = row.message;
      const marks = row.mine ? `${readBy.length},${deliveredTo.length},${row.newest}` : "";
      return `${row.first}|${marks}|${this.#whole.has(id)}`;
    }
    if (row.kind === "pending") return `${row.first}|${row.item.state}|${row.item.reason}`;
    return `${row.kind}|${row.text ?? row.name ?? ""}`;
  }

  #kinds = {
    day: (row) => h("div", { className: "day" }, row.text),
    new: () => h("div", { className: "new", role: "separator", "aria-label": "New messages" }, "New"),
    notice: (row) => h("div", { className: "sys" }, nameText(row.text)),
    more: () => h("div", { className: "day" }, "Loading older messages…"),
    empty: (row) => h("div", { className: "empty" }, "Nothing was said in ", nameText(row.name), " yet."),
    failed: () =>
      h(
        "div",
        { className: "day" },
        "Older messages could not be loaded. ",
        button("again", { className: "link", onclick: () => this.#fetchOlder() }, "Try again"),
      ),
    message: ({ message, mine, first, newest }) => {
      const text = this.#text(message.id, message.message);
      if (mine) text.append(this.#receipt(message, newest));
      const row = h("div", { className: `msg${first ? " first" : ""}` });
      if (first) row.append(...this.#sender(message.userId, message.displayName, message.timestamp, mine));
      else row.append(h("time", { className: "aside", dateTime: message.timestamp }, time(message.timestamp)));
      row.append(text);
      row.dataset.seq = message.seq;
      return row;
    },
    pending: ({ item, first }) => {
      const { user } = this.#chat.session;
      const text = this.#text(item.id, item.text);
      const row = h("div", { className: `msg${first ? " first" : ""} ${item.state === "failed" ? "fail" : "wait"}` });
      if (first) row.append(...this.#sender(this.#chat.me, user.displayName, item.at, true));
      if (item.state === "failed") text.append(...this.#remedies(item));
      else text.append(h("span", { className: "state" }, item.state === "sending" ? "sending" : "waiting"));
      row.append(text);
      return row;
    },
  };

  #sender(userId, name, timestamp, mine) {
    return [
      avatar(userId, name),
      h(
        "header",
        {},
        h("b", {}, mine ? "You" : nameText(name)),
        " ",
        h("time", { dateTime: timestamp, title: new Date(timestamp).toLocaleString() }, time(timestamp)),
      ),
    ];
  }

  #text(id, text) {
    const whole = text.length <= SHOWN || this.#whole.has(id);
    const shown = whole ? text : `${text.slice(0, SHOWN).replace(/[\ud800-\udbff]$/, "")}…`;
    const row = h("p", { dir: "auto" }, h("span", { className: "said" }, shown));
    const show = () => {
      this.#whole.add(id);
      this.render();
    };
    if (!whole) row.append(" ", button("show", { className: "link", onclick: show }, `Show all ${count(text.length, "character")}`));
    return row;
  }

  #receipt(message, newest) {
    const [symbol, words, title] = receipt(message, (id) => this.#chat.room.nameOf(id));
    const className = `state${message.readBy.length ? " read" : ""}`;
    const label = h("span", { className: newest ? "" : "unseen" }, ` ${words}`);
    return h("span", { className, title }, h("span", { "aria-hidden": "true" }, symbol), label);
  }

  #remedies(item) {
    return [
      h("span", { className: "state" }, `not sent: ${item.reason}`),
      button("retry", { className: "link", onclick: () => this.#chat.retry(item.id) }, "Try again"),
      button("discard", { className: "link", onclick: () => this.#chat.discard(item.id) }, "Discard"),
    ];
  }

  /** The first row that is on the screen, and where. */
  #anchor() {
    const { scrollTop } = this.#element;
    for (const row of this.#element.children) {
      if (row.offsetTop + row.offsetHeight > scrollTop && row.dataset.seq) return { row, top: row.offsetTop };
    }
    return null;
  }

  /** Where a room opens: at the divider, or at the end. */
  #place() {
    this.#placed = true;
    const divider = this.#rows.get("new");
    this.#element.scrollTop = this.#element.scrollHeight;
    if (divider && divider.offsetTop - NEAR < this.#element.scrollTop) this.#element.scrollTop = divider.offsetTop - NEAR;
    this.#pinned = this.#atEnd();
    this.#look();
  }

  #settle() {
    if (this.#pinned) this.#element.scrollTop = this.#element.scrollHeight;
  }

  #atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#element;
    return scrollHeight - scrollTop - clientHeight < NEAR;
  }

  #scrolled() {
    if (!this.#placed) return;
    this.#pinned = this.#atEnd();
    this.#look();
    this.#showPill();
    this.#fetchAhead();
  }

  #look() {
    if (this.#chat.room) this.#chat.seen(this.#placed && this.#pinned && !document.hidden);
  }

  #showPill() {
    const unseen = this.#chat.unread(this.#chat.room.name);
    this.#pill.hidden = this.#pinned;
    this.#pill.textContent = unseen ? `↓ ${count(unseen, "new message")}` : "↓ Newest messages";
  }

  #fetchAhead() {
    if (this.#element.scrollTop < AHEAD && this.#chat.room.more && !this.#failed) this.#fetchOlder();
  }

  async #fetchOlder() {
    const { room } = this.#chat;
    if (this.#fetching || !room.live) return;
    this.#fetching = true;
    this.#failed = false;
    try {
      await this.#chat.older();
    } catch {
      this.#failed = this.#chat.room === room;
    } finally {
      this.#fetching = false;
    }
    if (this.#chat.room) this.render();
  }
}
