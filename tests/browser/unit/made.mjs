// Values for the tests: messages, a storage, and a server whose answers the test defines.

import { webcrypto } from "node:crypto";

import { NoAnswer } from "../../../chatsys/web/client/js/errors.js";

globalThis.crypto ??= webcrypto; // before Node 20
globalThis.CustomEvent ??= class extends Event {
  constructor(name, { detail }) {
    super(name);
    this.detail = detail;
  }
};

export const ME = "11111111-1111-7111-8111-111111111111";
export const ANN = "22222222-2222-7222-8222-222222222222";

export function message(seq, fields = {}) {
  return {
    id: `id-${seq}`,
    seq,
    userId: ANN,
    username: "ann",
    displayName: "Ann",
    message: `text ${seq}`,
    room: "general",
    timestamp: new Date(Date.UTC(2026, 0, 1, 12, 0, seq)).toISOString(),
    delivered: false,
    deliveredTo: [],
    read: false,
    readBy: [],
    ...fields,
  };
}

export const messages = (from, to, fields) =>
  Array.from({ length: to - from + 1 }, (_, index) => message(from + index, fields));

export const answer = (lastSeq, fields = {}) => ({
  success: true,
  room: "general",
  userId: ME,
  lastSeq,
  complete: true,
  epoch: "one",
  ...fields,
});

export function storage() {
  const items = new Map();
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => items.set(key, value),
    removeItem: (key) => items.delete(key),
  };
}

/** A connection whose server is the function `answers(name, payload)`, which may throw NoAnswer. */
export class FakeConnection {
  requests = [];
  connected = false;

  constructor(answers) {
    this.answers = answers;
  }

  open(handlers) {
    this.handlers = handlers;
  }

  up() {
    this.connected = true;
    this.handlers.up();
  }

  down() {
    this.connected = false;
    this.handlers.down();
  }

  event(name, payload) {
    this.handlers.event(name, payload);
  }

  async request(name, payload) {
    if (!this.connected) throw new NoAnswer("not connected");
    this.requests.push([name, payload]);
    await settled(1);
    return this.answers(name, payload, this);
  }

  close() {}

  of(name) {
    return this.requests.filter(([sent]) => sent === name).map(([, payload]) => payload);
  }
}

/** Run everything that is due. */
export async function settled(iterations = 10) {
  for (let index = 0; index < iterations; index += 1) await new Promise((resolve) => setImmediate(resolve));
}
