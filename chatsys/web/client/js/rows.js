// Turns messages into the rows of the log: days, the divider, groups of one sender, joins and leaves. Pure.

import { day, dayKey, names } from "./text.js";

const TOGETHER = 5 * 60_000;

/** The rows of a room, each with a `key` that stays and a `kind`: day, new, notice, message or pending. */
export function rowsOf(room, pending) {
  const rows = [];
  const start = (room.messages[0]?.seq ?? 0) - 1;
  const notices = room.notices.filter((notice) => notice.after >= start);
  let before = null;
  let today;
  let divided = room.divider === undefined;
  const newest = room.messages.findLast((message) => message.userId === room.me)?.id;
  const flush = (seq) => {
    const here = notices.splice(0, notices.findLastIndex((notice) => notice.after <= seq) + 1);
    if (here.length === 0) return;
    rows.push({ kind: "notice", key: `notice-${here[0].after}`, text: summary(here) });
    before = null;
  };
  for (const message of room.messages) {
    flush(message.seq - 1);
    if (dayKey(message.timestamp) !== today) {
      today = dayKey(message.timestamp);
      rows.push({ kind: "day", key: `day-${message.id}`, text: day(message.timestamp) });
      before = null;
    }
    if (!divided && message.seq > room.divider && message.userId !== room.me) {
      rows.push({ kind: "new", key: "new" });
      divided = true;
      before = null;
    }
    rows.push({
      kind: "message",
      key: message.id,
      message,
      mine: message.userId === room.me,
      newest: message.id === newest && pending.length === 0,
      first: !follows(before, message),
    });
    before = message;
  }
  flush(Infinity);
  for (const item of pending) {
    const first = before?.userId !== room.me;
    rows.push({ kind: "pending", key: item.id, item, first });
    before = { userId: room.me };
  }
  return rows;
}

function follows(before, message) {
  if (before === null || before.userId !== message.userId) return false;
  return new Date(message.timestamp) - new Date(before.timestamp) < TOGETHER;
}

/** "Carol and 2 others joined; Dave left". For a user who came and went, the last event counts. */
function summary(notices) {
  const last = new Map();
  for (const notice of notices) last.set(notice.userId, notice);
  const of = (kind) => [...last.values()].filter((notice) => notice.kind === kind).map((notice) => notice.name);
  const parts = [];
  if (of("joined").length) parts.push(`${names(of("joined"))} joined`);
  if (of("left").length) parts.push(`${names(of("left"))} left`);
  return parts.join("; ");
}

/** The mark of this user's stored message: [symbol, words, names of the readers or receivers]. */
export function receipt(message, nameOf) {
  const named = (ids) => names(ids.map((id) => nameOf(id) ?? "somebody who left"), 5);
  if (message.readBy.length) return ["✓✓", `read by ${message.readBy.length}`, `Read by ${named(message.readBy)}`];
  if (message.deliveredTo.length) return ["✓✓", "delivered", `Delivered to ${named(message.deliveredTo)}`];
  return ["✓", "sent", "Stored by the server"];
}
