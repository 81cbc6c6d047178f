// Joins a room with the official JavaScript client, talks, and prints the received events as one JSON object.
"use strict";

const { io } = require("socket.io-client");

const [url, room, transports] = process.argv.slice(2);
const seen = [];

function connect(username) {
  const socket = io(url, { transports: transports.split(","), reconnection: false, forceNew: true });
  socket.onAny((name, payload) => seen.push({ username, name, payload }));
  return new Promise((resolve, reject) => {
    socket.on("connect", () => resolve(socket));
    socket.on("connect_error", reject);
  });
}

function once(socket, name) {
  return new Promise((resolve) => socket.once(name, resolve));
}

async function main() {
  const ann = await connect("Ann");
  const joined = await ann.emitWithAck("join", { room, username: "Ann", userId: "guest-ann" });
  const ben = await connect("Ben");
  const arrival = once(ann, "user-joined");
  const join = ben.emitWithAck("join", { room, username: "Ben", userId: "guest-ben" });
  await Promise.all([arrival, join]);

  const sent = [];
  for (let number = 0; number < 30; number++) {
    sent.push(ann.emitWithAck("send-message", { message: `message ${number}` }));
  }
  const answers = await Promise.all(sent);
  const receipt = once(ann, "message-read-update");
  await ben.emitWithAck("message-read", { messageId: answers[0].id, room });
  await receipt;
  const refused = await ben.emitWithAck("send-message", { message: Buffer.from([1, 2, 3]) });
  const departure = once(ann, "user-left");
  const transport = ben.io.engine.transport.name;
  ben.disconnect();
  await departure;
  ann.disconnect();
  console.log(JSON.stringify({ joined, answers, refused, seen, transport }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
