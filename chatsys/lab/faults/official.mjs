// Many clients of the official library in one process: they chat, come back by themselves, and count what they miss.
//
// Arguments: the library's URL, the server's, how many clients, how many rooms, the beginning of the rooms' names, a
// name for this process, milliseconds between two messages of one client. Commands, a line each on standard input:
// "status" and "stop" (send no more messages). Each is answered by one line of JSON.
import { createInterface } from "node:readline";

const [library, server, count, rooms, prefix, name, every] = process.argv.slice(2);
const { io } = await import(library);
const AT_ONCE = 25;
const RAMP_MS = 200;
const AGAIN_MS = 500;
const PATIENCE_MS = 10_000;

const clients = [];
const acknowledged = [];
const reasons = {};
let tokens = 0;
let sending = true;

class Client {
  constructor(number) {
    this.room = `${prefix} ${number % Number(rooms)}`;
    this.user = `official-${name}-${number}`;
    this.joined = this.known = false;
    this.last = this.lost = this.doubled = this.waiting = 0;
    this.socket = io(server, { transports: ["websocket"], forceNew: true, reconnectionDelayMax: 1000 });
    this.socket.on("connect", () => this.join());
    this.socket.on("disconnect", (reason) => this.gone(reason));
    this.socket.on("message-history", (messages) => this.history(messages));
    this.socket.on("receive-message", (message) => this.received(message.seq));
    setTimeout(() => this.talk(), Math.random() * every);
  }

  async join() {
    const since = this.known ? { since: this.last } : {};
    const answer = await this.request("join", { room: this.room, username: this.user, userId: this.user, ...since });
    if (answer?.success) {
      this.joined = this.known = true;
    } else if (this.socket.connected) {
      setTimeout(() => this.socket.connected && !this.joined && this.join(), AGAIN_MS);
    }
  }

  gone(reason) {
    this.joined = false;
    reasons[reason] = (reasons[reason] ?? 0) + 1;
    if (!this.socket.active) this.socket.connect(); // the server asked for the end: the library stays away
  }

  history(messages) {
    if (this.known) messages.forEach((message) => this.received(message.seq));
    else this.last = messages.at(-1)?.seq ?? 0;
  }

  received(seq) {
    if (seq <= this.last) this.doubled += 1;
    else {
      this.lost += seq - this.last - 1;
      this.last = seq;
    }
  }

  talk() {
    if (!sending) return;
    setTimeout(() => this.talk(), Number(every));
    if (this.joined) this.say(`${name}-${tokens++}`);
  }

  async say(token) {
    this.waiting += 1;
    for (;;) {
      const answer = this.joined ? await this.request("send-message", { message: token, clientMessageId: token }) : null;
      if (answer?.success) {
        acknowledged.push([this.room, answer.seq, answer.id, token]);
        break;
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
    this.waiting -= 1;
  }

  async request(event, payload) {
    try {
      return await this.socket.timeout(PATIENCE_MS).emitWithAck(event, payload);
    } catch {
      return null;
    }
  }
}

function sum(what) {
  return clients.reduce((total, client) => total + what(client), 0);
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
  for (let some = 0; some < AT_ONCE && clients.length < Number(count); some++) clients.push(new Client(clients.length));
  await new Promise((resolve) => setTimeout(resolve, RAMP_MS));
}
