import assert from "node:assert/strict";
import { test } from "node:test";

import { KEPT, KEPT_READING, Room } from "../../../chatsys/web/client/js/room.js";
import { ANN, answer, ME, message, messages } from "./made.mjs";

const seqs = (room) => room.messages.map((one) => one.seq);

function joined(history, fields = {}, mark = undefined) {
  const room = new Room("general", ME, mark);
  room.joining();
  room.apply("message-history", history);
  room.joined(answer(history.at(-1)?.seq ?? 0, { complete: false, ...fields }), false);
  return room;
}

function rejoin(room, history, fields) {
  room.left();
  room.joining();
  room.apply("message-history", history);
  room.joined(answer(history.at(-1)?.seq ?? room.through, fields), true);
}

test("a first join shows the history and says whether there is more", () => {
  assert.deepEqual(seqs(joined(messages(1, 3))), [1, 2, 3]);
  assert.equal(joined(messages(1, 3)).more, false);
  assert.equal(joined(messages(7, 9)).more, true);
  assert.equal(joined([]).more, false);
});

test("a replay adds missed messages once", () => {
  const room = joined(messages(1, 3));
  rejoin(room, messages(4, 6));
  room.apply("receive-message", message(6));
  room.apply("receive-message", message(7));
  assert.deepEqual(seqs(room), [1, 2, 3, 4, 5, 6, 7]);
  assert.equal(room.through, 7);
});

test("an incomplete replay replaces everything, so no gap is shown", () => {
  const room = joined(messages(1, 3));
  rejoin(room, messages(2000, 2002), { complete: false });
  assert.deepEqual(seqs(room), [2000, 2001, 2002]);
  assert.equal(room.more, true);
});

test("another epoch replaces everything and removes the divider", () => {
  const room = joined(messages(1, 3), {}, { seq: 2, epoch: "one" });
  assert.equal(room.divider, 2);
  rejoin(room, messages(1, 1, { id: "another" }), { complete: false, epoch: "two" });
  assert.deepEqual(room.messages.map((one) => one.id), ["another"]);
  assert.equal(room.divider, undefined);
  assert.equal(room.epoch, "two");
});

test("the divider stays where it was when the room was opened", () => {
  const room = joined(messages(1, 5), {}, { seq: 3, epoch: "one" });
  room.apply("receive-message", message(6));
  rejoin(room, messages(7, 8));
  assert.equal(room.divider, 3);
});

test("a marker of another epoch, or beyond the newest message, makes no divider", () => {
  assert.equal(joined(messages(1, 5), {}, { seq: 3, epoch: "old" }).divider, undefined);
  assert.equal(joined(messages(1, 5), {}, { seq: 30, epoch: "one" }).divider, undefined);
});

test("events of the previous room during a join are not shown", () => {
  const room = new Room("general", ME);
  room.joining();
  room.apply("receive-message", message(40, { room: "random", id: "other" }));
  room.apply("room-users", [{ userId: ANN, room: "random" }]);
  room.apply("user-joined", { userId: ANN, displayName: "Ann", timestamp: "" });
  room.apply("room-users", [{ userId: ME, room: "general" }]);
  room.apply("message-history", messages(1, 2));
  room.apply("receive-message", message(3));
  room.joined(answer(2, { complete: false }), false);
  assert.deepEqual(seqs(room), [1, 2, 3]);
  assert.deepEqual(room.users.map((user) => user.userId), [ME]);
  assert.deepEqual(room.notices, []);
});

test("a message confirmed before its broadcast does not move the start of a replay", () => {
  const room = joined(messages(1, 3));
  room.confirmed(message(5, { userId: ME }));
  assert.equal(room.through, 3);
  room.apply("receive-message", message(4));
  room.apply("receive-message", message(5, { userId: ME }));
  assert.deepEqual(seqs(room), [1, 2, 3, 4, 5]);
});

test("a confirmed message older than all shown ones appears only on scrolling back", () => {
  const room = joined(messages(10, 12));
  room.confirmed(message(4, { userId: ME }));
  assert.deepEqual(seqs(room), [10, 11, 12]);
});

test("older pages are prepended without repetitions until there are none", () => {
  const room = joined(messages(7, 9));
  room.older(messages(4, 7));
  assert.deepEqual(seqs(room), [4, 5, 6, 7, 8, 9]);
  assert.equal(room.more, true);
  room.older(messages(1, 3));
  assert.equal(room.more, false);
  room.more = true;
  room.older([]);
  assert.equal(room.more, false);
});

test("receipts change the message that they name", () => {
  const room = joined(messages(1, 2, { userId: ME }));
  const [one, two] = room.messages;
  room.apply("message-status-update", { messageId: "id-1", deliveredTo: [ANN] });
  assert.deepEqual([one.deliveredTo, one.readBy], [[ANN], []]);
  room.apply("message-read-update", { messageId: "id-1", readBy: [ANN] });
  assert.deepEqual(one.readBy, [ANN]);
  room.apply("messages-marked-read", { messageIds: ["id-1", "id-2", "unknown"], readBy: "ben" });
  assert.deepEqual([one.readBy, two.readBy, two.deliveredTo], [[ANN, "ben"], ["ben"], ["ben"]]);
});

test("people are counted once, with their windows and their status", () => {
  const room = joined([]);
  const user = (userId, displayName) => ({ userId, displayName, room: "general", status: { online: true } });
  room.apply("room-users", [user(ME, "me"), user(ANN, "Ann"), user(ME, "me")]);
  room.apply("user-status-update", { userId: ANN, online: false, lastSeen: "then" });
  assert.deepEqual(
    room.people().map((one) => [one.displayName, one.windows, one.status.online]),
    [["Ann", 1, false], ["me", 2, true]],
  );
});

test("a typing user is forgotten after a message, on leaving, and after silence", () => {
  const room = joined([]);
  const typing = (userId, isTyping = true) => room.apply("user-typing", { userId, displayName: userId, isTyping });
  for (const who of ["a", "b", "c", "d"]) typing(who);
  room.apply("receive-message", message(1, { userId: "a" }));
  room.apply("user-left", { userId: "b", displayName: "b", timestamp: "" });
  typing("c", false);
  assert.deepEqual(room.typists(), ["d"]);
  assert.deepEqual(room.typists(Date.now() + 7_000), []);
});

test("messages are limited, less tightly while the user reads further up", () => {
  const room = joined(messages(1, KEPT_READING + 10));
  room.trim(true);
  assert.deepEqual([room.messages.length, room.messages[0].seq, room.more], [KEPT_READING, 11, true]);
  room.trim(false);
  assert.equal(room.messages.length, KEPT);
  assert.equal(room.has("id-11"), false);
});
