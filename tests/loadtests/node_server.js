// A Node.js socket.io server as others run it, with the events of reference_server.py, so that the same cases apply.
"use strict";

const http = require("node:http");
const https = require("node:https");
const fs = require("node:fs");
const { Server } = require("socket.io");

const [prefix = "", certificate = ""] = process.argv.slice(2);
const web = certificate
  ? https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(certificate.replace(".pem", ".key")) })
  : http.createServer();
const io = new Server(web, { path: `${prefix}/socket.io/`, pingInterval: 300, pingTimeout: 8000, cookie: { name: "stick" } });
const ends = [];

io.use((socket, next) => {
  next(socket.handshake.auth.refuse ? new Error("not today") : undefined);
});

io.on("connection", (socket) => {
  const { headers, query } = socket.handshake;
  socket.on("disconnect", (reason) => ends.push([socket.id, reason.startsWith("client") ? "client disconnect" : reason]));
  socket.on("ended", (answer) => answer(ends));
  socket.on("echo", (value, answer) => answer?.(value));
  socket.on("shout", (value) => io.emit("shouted", value));
  socket.on("many", (count) => {
    for (let number = 0; number < count; number += 1) socket.emit("number", number);
  });
  socket.on("ask", async (answer) => {
    await socket.timeout(30000).emitWithAck("question", { why: true });
    answer("asked and answered");
  });
  socket.on("handshake", (answer) => answer({
    query: new URLSearchParams(query).toString(),
    origin: headers.origin ?? "",
    cookie: headers.cookie ?? "",
    authorization: headers.authorization ?? "",
    tenant: headers["x-tenant"] ?? "",
    host: headers.host,
    sni: socket.request.socket.servername || "",
  }));
  socket.on("transport", (answer) => answer(socket.conn.transport.name));
  socket.on("bytes_of", (value, answer) => answer(Buffer.isBuffer(value) ? ["bytes", value.length] : [typeof value, null]));
  socket.on("push_bytes", () => {
    const first = Buffer.from(Array.from({ length: 256 }, (_, number) => number));
    socket.emit("blob", { first, items: [1, Buffer.from("second")], text: "x" });
    socket.emit("number", 7);
  });
  socket.on("two", (answer) => answer(null, { ok: true }));
  socket.on("nothing", (answer) => answer());
  socket.on("ask_for", (question, answer) => {
    socket.timeout(30000).emit(question, { a: 2, b: 3 }, (error, ...values) => answer(values.length === 1 ? values[0] : values));
  });
  socket.on("silent", () => {});
  socket.on("kick", () => socket.disconnect(true));
  socket.on("drop", () => socket.conn.close());
});

io.of("/other").on("connection", (socket) => {
  socket.on("echo", (value, answer) => answer(["other", value]));
  socket.on("kick", () => socket.disconnect());
});

io.of("/refuses").use((_socket, next) => next(new Error("members only")));

web.listen(0, "127.0.0.1", () => {
  console.log(`${certificate ? "https" : "http"}://127.0.0.1:${web.address().port}`);
});
