// Stock Socket.IO on Node.js: `node server.mjs ws|uws PORT`. It does the same as chatsys/lab/subjects/reference.py.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { Server } from "socket.io";
import { serve } from "./chat.mjs";

const [kind, port] = [process.argv[2], Number(process.argv[3])];
const io = new Server({ cors: { origin: "*" } });
serve(io);
if (kind === "uws") {
  const { App } = createRequire(import.meta.url)("@trufflesuite/uws-js-unofficial");
  const app = App();
  io.attachApp(app);
  app.listen("127.0.0.1", port, () => {});
} else {
  const http = createServer();
  io.attach(http);
  http.listen(port, "127.0.0.1");
}
process.on("SIGTERM", () => process.exit(0));
