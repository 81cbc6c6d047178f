// Stock Socket.IO on Bun: `bun run bun.mjs PORT`. It does the same as chatsys/lab/subjects/reference.py.
import { Server as Engine } from "@socket.io/bun-engine";
import { Server } from "socket.io";
import { serve } from "./chat.mjs";

const io = new Server({ cors: { origin: "*" } });
const engine = new Engine({ path: "/socket.io/" });
io.bind(engine);
serve(io);
Bun.serve({ port: Number(process.argv[2]), hostname: "127.0.0.1", idleTimeout: 120, ...engine.handler() });
process.on("SIGTERM", () => process.exit(0));
