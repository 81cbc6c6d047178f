import assert from "node:assert/strict";
import { test } from "node:test";

import { receipt, rowsOf } from "../../../chatsys/web/client/js/rows.js";
import { initials, isGuest, names } from "../../../chatsys/web/client/js/text.js";
import { ANN, ME, message, messages } from "./made.mjs";

const room = (fields) => ({ me: ME, divider: undefined, messages: [], notices: [], ...fields });
const kinds = (rows) => rows.map((row) => row.kind).join(" ");

test("a day stands above its first message", () => {
  const tomorrow = message(3, { timestamp: "2026-01-02T12:00:00.000Z" });
  assert.equal(kinds(rowsOf(room({ messages: [...messages(1, 2), tomorrow] }), [])), "day message message day message");
});

test("messages of one sender within five minutes stand together", () => {
  const later = message(3, { timestamp: "2026-01-01T12:06:00.000Z" });
  const mine = message(4, { userId: ME, timestamp: "2026-01-01T12:06:01.000Z" });
  const rows = rowsOf(room({ messages: [...messages(1, 2), later, mine] }), []);
  assert.deepEqual(rows.filter((row) => row.kind === "message").map((row) => row.first), [true, false, true, true]);
});

test("the divider stands before the first new message of another", () => {
  const list = [message(1), message(2, { userId: ME }), message(3), message(4)];
  assert.equal(kinds(rowsOf(room({ messages: list, divider: 1 }), [])), "day message message new message message");
  assert.equal(kinds(rowsOf(room({ messages: list, divider: 4 }), [])), "day message message message message");
  assert.equal(kinds(rowsOf(room({ messages: list }), [])), "day message message message message");
});

test("joins and leaves are one line where they happened", () => {
  const notice = (after, kind, name) => ({ after, kind, name, userId: name });
  const notices = [notice(1, "joined", "Ann"), notice(1, "joined", "Ben"), notice(1, "left", "Ben"), notice(2, "left", "Ann")];
  const rows = rowsOf(room({ messages: messages(1, 2), notices }), []);
  assert.equal(kinds(rows), "day message notice message notice");
  assert.deepEqual(rows.filter((row) => row.kind === "notice").map((row) => row.text), ["Ann joined; Ben left", "Ann left"]);
});

test("rows have unique keys", () => {
  const notices = [0, 1, 2].map((after) => ({ after, kind: "joined", name: `n${after}`, userId: `u${after}` }));
  const rows = rowsOf(room({ messages: messages(1, 3), notices, divider: 2 }), [{ id: "p" }]);
  assert.equal(new Set(rows.map((row) => row.key)).size, rows.length);
});

test("a status icon shows the furthest state of a message", () => {
  const nameOf = (id) => (id === ANN ? "Ann" : undefined);
  assert.equal(receipt(message(1), nameOf)[1], "sent");
  assert.equal(receipt(message(1, { deliveredTo: [ANN] }), nameOf)[1], "delivered");
  assert.deepEqual(receipt(message(1, { deliveredTo: [ANN], readBy: [ANN, "x"] }), nameOf), [
    "✓✓",
    "read by 2",
    "Read by Ann and somebody who left",
  ]);
});

test("names are listed as a sentence would", () => {
  assert.equal(names(["Ann"]), "Ann");
  assert.equal(names(["Ann", "Ben"]), "Ann and Ben");
  assert.equal(names(["Ann", "Ben", "Cid", "Dan"]), "Ann, Ben and 2 others");
});

test("initials consist of whole characters", () => {
  assert.deepEqual(["ann", "Ann Bee", "👩‍👩‍👧", " ", "日本"].map(initials).map((text) => [...text].length > 0), Array(5).fill(true));
  assert.deepEqual([initials("ann"), initials("Ann Bee"), initials("x_y")], ["AN", "AB", "XY"]);
  assert.deepEqual([isGuest(ANN), isGuest("guest-1")], [false, true]);
});
