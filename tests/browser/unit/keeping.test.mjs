import assert from "node:assert/strict";
import { test } from "node:test";

import { Marks } from "../../../chatsys/web/client/js/marks.js";
import { Outbox } from "../../../chatsys/web/client/js/outbox.js";
import { Passing, shortened } from "../../../chatsys/web/client/js/passing.js";
import { guest, Sessions } from "../../../chatsys/web/client/js/session.js";
import { message, storage } from "./made.mjs";

test("waiting messages outlive the page, in order and with their ids", () => {
  const kept = storage();
  const before = new Outbox(kept, "outbox");
  const [one, two, three] = ["one", "two", "three"].map((text) => before.add("general", text));
  before.set(one, "sending");
  before.set(three, "failed", "too long");
  const after = new Outbox(kept, "outbox");
  assert.deepEqual(after.of("general").map((item) => [item.id, item.state]), [
    [one.id, "waiting"],
    [two.id, "waiting"],
    [three.id, "failed"],
  ]);
  assert.equal(after.next("general").id, one.id);
  assert.equal(after.waiting(), 2);
  assert.equal(after.next("random"), undefined);
});

test("the outbox is limited, and a damaged one begins empty", () => {
  const outbox = new Outbox(storage(), "outbox");
  const added = Array.from({ length: 201 }, () => outbox.add("general", "text"));
  assert.equal(added[200], null);
  const damaged = storage();
  damaged.setItem("outbox", "{");
  assert.deepEqual(new Outbox(damaged, "outbox").of("general"), []);
});

test("a broadcast hides only the message whose acknowledgement is pending", () => {
  const outbox = new Outbox(storage(), "outbox");
  const [one, two] = [outbox.add("general", "same"), outbox.add("general", "same")];
  outbox.arrived(message(1, { message: "same" }));
  assert.equal(outbox.of("general").length, 2);
  outbox.set(one, "sending");
  outbox.arrived(message(1, { message: "same" }));
  outbox.arrived(message(2, { message: "same" }));
  assert.deepEqual(outbox.of("general"), [two]);
});

test("a full storage loses only what it would have stored", () => {
  const full = { ...storage(), setItem: () => assert.fail("full") };
  const throwing = { ...full, setItem: () => { throw new Error("full"); } };
  assert.equal(new Outbox(throwing, "outbox").add("general", "text").text, "text");
  new Marks(throwing, "marks").set("general", 1, "one");
});

test("unread counts are the messages after the marker", () => {
  const kept = storage();
  const marks = new Marks(kept, "marks");
  marks.set("general", 5, "one");
  marks.head("general", 8);
  marks.head("never open", 100);
  assert.deepEqual([marks.unread("general"), marks.unread("never open"), marks.unread("unknown")], [3, 0, 0]);
  marks.head("general", 2); // the room has restarted
  assert.equal(marks.unread("general"), 2);
  assert.deepEqual(new Marks(kept, "marks").of("general"), { seq: 5, epoch: "one" });
});

test("markers are limited, and the oldest are dropped first", () => {
  const marks = new Marks(storage(), "marks");
  for (let number = 0; number <= 500; number += 1) marks.set(`room ${number}`, 1, "one");
  assert.equal(marks.of("room 0"), undefined);
  assert.equal(marks.of("room 500").seq, 1);
});

test("passing events hide tokens, cut long texts and lists, and are limited", () => {
  const seen = shortened({ token: "secret", text: "x".repeat(1000), list: [1, 2, 3, 4, 5], deep: [{ token: "secret" }] });
  assert.equal(JSON.stringify(seen).includes("secret"), false);
  assert.equal(seen.text.endsWith("(1000 characters)"), true);
  assert.deepEqual(seen.list, ["… 2 before", 3, 4, 5]);
  const passing = new Passing();
  for (let number = 0; number < 300; number += 1) passing.add("in", "event", number);
  assert.deepEqual([passing.entries.length, passing.entries[0].payload], [200, 299]);
});

test("a session is stored for one path and forgotten at log-out", () => {
  const kept = storage();
  const here = new Sessions(kept, "/a/");
  here.save(guest("Ann"));
  assert.equal(here.load().user.displayName, "Ann");
  assert.match(here.load().user.userId, /^guest-[0-9a-f]{32}$/);
  assert.equal(new Sessions(kept, "/b/").load(), null);
  here.clear();
  assert.equal(here.load(), null);
});
