import assert from "node:assert/strict";
import { test } from "node:test";

import { answer, FakeConnection, ME, message, messages, settled, storage } from "./made.mjs";
import { Chat } from "../../../chatsys/web/client/js/chat.js";
import { NoAnswer } from "../../../chatsys/web/client/js/errors.js";

/** A server with one room. `stored` holds its messages; `fails` replaces the answers to the next requests. */
function server(stored = []) {
  const state = { stored, fails: [], lost: false };
  state.answers = (name, payload, connection) => {
    const fail = state.fails.length && name !== "message-delivered" ? state.fails.shift() : undefined;
    if (fail instanceof Error) throw fail;
    if (fail) return fail;
    if (name === "join") {
      connection.event("message-history", stored.filter((one) => one.seq > (payload.since ?? 0)).slice(-100));
      return answer(stored.at(-1)?.seq ?? 0, { complete: payload.since !== undefined });
    }
    if (name !== "send-message") return { success: true };
    const known = stored.find((one) => one.client === payload.clientMessageId);
    const found = known ?? message(stored.length + 1, { userId: ME, message: payload.message, client: payload.clientMessageId });
    if (!known) stored.push(found);
    if (!known && !state.lost) connection.event("receive-message", found);
    if (state.lost) {
      connection.down();
      throw new NoAnswer("lost");
    }
    return { success: true, id: found.id, seq: found.seq, timestamp: found.timestamp, duplicate: Boolean(known) };
  };
  return state;
}

async function opened(state, { token = "token" } = {}) {
  const connection = new FakeConnection(state.answers);
  const api = {
    rooms: async () => ({ data: [{ name: "general", lastActivity: "a" }] }),
    stats: async () => ({ data: { totalMessages: state.stored.length } }),
    messages: async (room, { before }) => ({ data: state.stored.filter((one) => one.seq < before).slice(-100) }),
  };
  const session = { user: { userId: ME, username: "me", displayName: "Me" }, token };
  const chat = new Chat({ session, api, connection, stores: { local: storage(), session: storage() }, basePath: "/" });
  chat.open("general");
  chat.start();
  connection.up();
  await settled();
  return { chat, connection };
}

/** Stops all timers until the test is over; the returned function fires them all. */
function stoppedTime(context) {
  const { setTimeout } = globalThis;
  const due = [];
  globalThis.setTimeout = (work) => due.push(work);
  context.after(() => (globalThis.setTimeout = setTimeout));
  return () => due.splice(0).forEach((work) => work());
}

const texts = (chat) => chat.room.messages.map((one) => one.message);

test("a message is shown at once, and only once after it is stored", async () => {
  const { chat } = await opened(server());
  chat.send("hello");
  assert.deepEqual(chat.outbox.of("general").map((item) => item.text), ["hello"]);
  await settled();
  assert.deepEqual([texts(chat), chat.outbox.of("general")], [["hello"], []]);
});

test("messages are sent one after another, in the order in which they were written", async () => {
  const { chat, connection } = await opened(server());
  for (let number = 0; number < 20; number += 1) chat.send(`${number}`);
  await settled(200);
  assert.deepEqual(texts(chat), Array.from({ length: 20 }, (_, number) => `${number}`));
  assert.equal(new Set(connection.of("send-message").map((sent) => sent.clientMessageId)).size, 20);
});

test("a message whose answer is lost is sent again with its id and shown once", async () => {
  const state = server(messages(1, 2));
  const { chat, connection } = await opened(state);
  state.lost = true;
  chat.send("stored, but nobody knows");
  await settled();
  assert.equal(chat.state, "lost");
  assert.equal(chat.outbox.waiting(), 1);
  state.lost = false;
  state.stored.push(message(4));
  chat.send("written meanwhile");
  connection.up();
  await settled(50);
  const sent = connection.of("send-message");
  assert.equal(sent[0].clientMessageId, sent[1].clientMessageId);
  assert.deepEqual(texts(chat), ["text 1", "text 2", "stored, but nobody knows", "text 4", "written meanwhile"]);
  assert.deepEqual([chat.outbox.of("general"), chat.state], [[], "live"]);
  assert.deepEqual(connection.of("join")[1].since, 2);
  assert.deepEqual(connection.of("join")[1].epoch, "one");
});

test("a message that the server refuses says why, and is sent again on request", async () => {
  const state = server();
  const { chat } = await opened(state);
  state.fails.push({ success: false, code: "validation_failed", message: "no" });
  chat.send("refused");
  chat.send("next");
  await settled();
  const [refused] = chat.outbox.of("general");
  assert.deepEqual([refused.state, refused.reason, texts(chat)], ["failed", "no", ["next"]]);
  chat.retry(refused.id);
  await settled();
  assert.deepEqual(texts(chat), ["next", "refused"]);
  state.fails.push({ success: false, code: "validation_failed", message: "no" });
  chat.send("discarded");
  await settled();
  chat.discard(chat.outbox.of("general")[0].id);
  assert.deepEqual(chat.outbox.of("general"), []);
});

test("an outage of the store only delays a message", async (context) => {
  const pass = stoppedTime(context);
  const state = server();
  const { chat } = await opened(state);
  state.fails.push({ success: false, code: "store_unavailable", message: "away" });
  chat.send("later");
  await settled();
  assert.equal(chat.outbox.of("general")[0].state, "waiting");
  pass();
  await settled();
  assert.deepEqual(texts(chat), ["later"]);
});

test("a join that fails while the store is unavailable is retried", async (context) => {
  const pass = stoppedTime(context);
  const state = server(messages(1, 2));
  state.fails.push({ success: false, code: "store_unavailable", message: "away" });
  const { chat } = await opened(state);
  assert.equal(chat.state, "waiting");
  pass();
  await settled();
  assert.deepEqual([chat.state, texts(chat)], ["live", ["text 1", "text 2"]]);
});

test("a token that is not accepted ends the session and never chats as a guest", async () => {
  const state = server();
  const { chat, connection } = await opened(state);
  let expired = 0;
  chat.addEventListener("expired", () => (expired += 1));
  connection.down();
  state.fails.push({ success: false, code: "join_refused", message: "Failed to join room" });
  connection.up();
  await settled();
  assert.deepEqual([expired, chat.room.live], [1, false]);
  assert.deepEqual(Object.keys(connection.of("join")[0]), ["room", "token"]);
});

test("a room that can't be joined says so", async () => {
  const state = server();
  const { chat } = await opened(state);
  state.fails.push({ success: false, code: "join_refused", message: "Failed to join room" });
  chat.open("x".repeat(101));
  await settled();
  assert.deepEqual([chat.state, chat.problem], ["refused", "This room can't be joined: Failed to join room."]);
});

test("a guest joins with a name and an id, an account with its token", async () => {
  const guest = await opened(server(), { token: null });
  assert.deepEqual(guest.connection.of("join")[0], { room: "general", username: "me", userId: ME });
  const account = await opened(server());
  assert.deepEqual(account.connection.of("join")[0], { room: "general", token: "token" });
});

test("messages on the screen are read, others are delivered and unread", async () => {
  const state = server(messages(1, 3));
  const { chat, connection } = await opened(state);
  assert.deepEqual(connection.of("message-delivered").map((sent) => sent.messageId), ["id-1", "id-2", "id-3"]);
  assert.equal(chat.unread("general"), 3);
  chat.seen(true);
  assert.deepEqual(connection.of("mark-all-read"), [{ room: "general" }]);
  assert.equal(chat.unread("general"), 0);
  connection.event("receive-message", message(4));
  assert.deepEqual(connection.of("message-read"), [{ messageId: "id-4", room: "general" }]);
  chat.seen(false);
  connection.event("receive-message", message(5));
  assert.equal(chat.unread("general"), 1);
  assert.equal(connection.of("message-read").length, 1);
  connection.event("receive-message", message(6, { userId: ME }));
  assert.equal(chat.unread("general"), 1);
  assert.equal(connection.of("message-delivered").at(-1).messageId, "id-5");
  assert.equal(chat.marks.of("general").seq, 4);
});

test("a room that is opened during the join of another stays open", async () => {
  const state = server(messages(1, 2));
  const { chat, connection } = await opened(state);
  chat.open("random");
  chat.open("tech");
  await settled();
  assert.equal(chat.room.name, "tech");
  assert.deepEqual(connection.of("join").map((sent) => sent.room), ["general", "random", "tech"]);
});

test("a user with the status away keeps it after an outage", async () => {
  const { chat, connection } = await opened(server());
  chat.appear(true);
  connection.down();
  connection.up();
  await settled();
  assert.deepEqual(connection.of("update-online-status"), [{ online: false }, { online: false }]);
});

test("texts that no packet can carry are refused in words", async () => {
  const { chat } = await opened(server());
  assert.match(chat.send("a\0b"), /U\+0000/);
  assert.match(chat.send("ä".repeat(500_000)), /too long/);
  assert.equal(chat.outbox.waiting(), 0);
});

test("older pages are requested before the oldest message", async () => {
  const { chat } = await opened(server(messages(1, 150)));
  assert.equal(chat.room.messages[0].seq, 51);
  await chat.older();
  assert.equal(chat.room.messages[0].seq, 1);
});
