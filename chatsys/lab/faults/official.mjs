// Many clients of the official library in one process. They chat, reconnect by themselves, and count what they miss.
//
// Arguments: the library's URL, the server's URL, the number of clients, the number of rooms, the prefix of the rooms'
// names, a name for this process, and the milliseconds between two messages of one client. Commands arrive on standard
// input, one on a line: "status", and "stop" (send no more messages). The answer is one line of JSON.
import { createInterface } from "node:readline";

const [library, server, count, rooms, prefix, name, every] = process.argv.slice(2);
const { io } = await import(library);
const BATCH = 25; // clients that start every RAMP_MS
const RAMP_MS = 200;
const RETRY_MS = 500;
const TIMEOUT_MS = 10_000;

const clients = [];
const acknowledged = [];
const reasons = {};
let tokens = 0;
let sending = true;

class Client {
  constructor(number) {
    this.room = `${prefix} ${number % Number(rooms)}`;
    this.user = `official-${name}-${number}`;
    this.joined = this.joinedBefore = false;
    this.last = this.lost = this.doubled = this.waiting = 0;
    this.socket = io(server, { transports: ["websocket"], forceNew: true, reconnectionDelayMax: 1000 });
    this.socket.on("connect", () => this.join());
    this.socket.on("disconnect", (reason) => this.disconnected(reason));
    this.socket.on("message-history", (messages) => this.history(messages));
    this.socket.on("receive-message", (message) => this.received(message.seq));
    setTimeout(() => this.keepSending(), Math.random() * every);
  }

  async join() {
    const since = this.joinedBefore ? { since: this.last } : {};
    const answer = await this.request("join", { room: this.room, username: this.user, userId: this.user, ...since });
    if (answer?.success) {
      this.joined = this.joinedBefore = true;
    } else if (this.socket.connected) {
      setTimeout(() => this.socket.connected && !this.joined && this.join(), RETRY_MS);
    }
  }

  disconnected(reason) {
    this.joined = false;
    reasons[reason] = (reasons[reason] ?? 0) + 1;
    // The library does not reconnect by itself if the server closed the connection with a packet.
    if (!this.socket.active) this.socket.connect();
  }

  history(messages) {
    if (this.joinedBefore) messages.forEach((message) => this.received(message.seq));
    else this.last = messages.at(-1)?.seq ?? 0;
  }

  received(seq) {
    if (seq <= this.last) this.doubled += 1;
    else {
      this.lost += seq - this.last - 1;
      this.last = seq;
    }
  }

  keepSending() {
    if (!sending) return;
    setTimeout(() => this.keepSending(), Number(every));
    if (this.joined) this.send(`${name}-${tokens++}`);
  }

  async send(token) {
    this.waiting += 1;
    const message = { message: token, clientMessageId: token };
    for (;;) {
      const answer = this.joined ? await this.request("send-message", message) : null;
      if (answer?.success) {
        acknowledged.push([this.room, answer.seq, answer.id, token]);
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    this.waiting -= 1;
  }

  async request(event, payload) {
    try {
      return await this.socket.timeout(TIMEOUT_MS).emitWithAck(event, payload);
    } catch {
      return null;
    }
  }
}

function sum(value) {
  return clients.reduce((total, client) => total + value(client), 0);
}

function status() {
  return {
    joined: sum((client) => (client.joined ? 1 : 0)),
    waiting: sum((client) => client.waiting),
    lost: sum((client) => client.lost),
    doubled: sum((client) => client.doubled),
    reasons,
  };
}

function stop() {
  sending = false;
  return { ...status(), acknowledged, positions: clients.map((client) => [client.room, client.last]) };
}

createInterface({ input: process.stdin })
  .on("line", (command) => console.log(JSON.stringify(command === "stop" ? stop() : status())))
  .on("close", () => process.exit(0));

while (clients.length < Number(count)) {
  for (let i = 0; i < BATCH && clients.length < Number(count); i++) clients.push(new Client(clients.length));
  await new Promise((resolve) => setTimeout(resolve, RAMP_MS));
}
