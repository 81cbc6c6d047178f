// The Socket.IO connection: it reconnects by itself, reports every event, and never queues one.

import { io } from "../vendor/socket.io.esm.min.js";
import { NoAnswer } from "./errors.js";

export class Connection {
  #socket;
  #passing;

  /** `passing(direction, name, payload)` sees each event; `base` is the URL that contains `socket.io/`. */
  constructor(base, passing) {
    this.#passing = passing;
    this.#socket = io(base.origin, {
      path: new URL("socket.io/", base).pathname,
      transports: ["websocket", "polling"],
      tryAllTransports: true,
      autoConnect: false,
      reconnectionDelay: 300,
      reconnectionDelayMax: 3_000,
      timeout: 8_000,
    });
  }

  /** Connect, and from then on call `up()`, `down()`, and `event(name, payload)`. */
  open({ up, down, event }) {
    this.#socket.on("connect", up);
    this.#socket.on("disconnect", (reason) => {
      down();
      if (reason === "io server disconnect") this.#socket.connect();
    });
    this.#socket.onAny((name, payload) => {
      this.#passing("in", name, payload);
      event(name, payload);
    });
    this.#socket.connect();
  }

  get connected() {
    return this.#socket.connected;
  }

  /** Try to connect now instead of at the next attempt. */
  hurry() {
    if (!this.#socket.connected && this.#socket.active) this.#socket.disconnect().connect();
  }

  /** Send an event; return the acknowledgement. Throws NoAnswer. */
  async request(name, payload, patience = 10_000) {
    if (!this.#socket.connected) throw new NoAnswer("not connected");
    this.#passing("out", name, payload);
    let answer;
    try {
      answer = await this.#socket.timeout(patience).emitWithAck(name, payload);
    } catch (error) {
      throw new NoAnswer(error.message);
    }
    this.#passing("ack", name, answer);
    return answer;
  }

  close() {
    this.#socket.removeAllListeners();
    this.#socket.offAny();
    this.#socket.disconnect();
  }
}
