// The chat of the peers: rooms, and messages with the shape and size of the reference server's. Nothing is stored.
const AVATAR = "https://ui-avatars.com/api/?name=member%200&background=667eea&color=fff";

export function serve(io) {
  const numbers = new Map();
  io.on("connection", (socket) => {
    let room;
    socket.on("join", (payload) => {
      room = payload.room;
      socket.join(room);
      socket.emit("message-history", []);
    });
    socket.on("send-message", (payload) => {
      const seq = (numbers.get(room) ?? 0) + 1;
      numbers.set(room, seq);
      io.to(room).emit("receive-message", {
        id: `01900000-0000-7000-8000-${String(seq).padStart(12, "0")}`,
        seq,
        username: "member 0",
        displayName: "member 0",
        avatar: AVATAR,
        userId: `guest-${socket.id}`,
        message: payload.message,
        room,
        timestamp: "2026-01-01T00:00:00.000Z",
        delivered: false,
        deliveredTo: [],
        read: false,
        readBy: [],
        editedAt: null,
      });
    });
  });
}
