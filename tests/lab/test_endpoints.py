"""The lab's Socket.IO client."""

from __future__ import annotations

from websockets.asyncio.server import ServerConnection, serve

from chatsys.lab.workloads.endpoints import guest

UNREAD = 20_000
"""Packets; more than one read returns and a queue takes before reading stops."""


async def test_client_gets_the_close_answer_despite_many_pushes() -> None:
    codes: list[int | None] = []

    async def chat(socket: ServerConnection) -> None:
        await socket.send('0{"sid":"a"}')
        await socket.recv()
        await socket.send("40{}")
        await socket.recv()
        await socket.send("431[{}]")
        for _ in range(UNREAD):
            await socket.send('42["user-left",{}]')
        await socket.wait_closed()
        codes.append(socket.close_code)

    async with serve(chat, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with guest(f"http://127.0.0.1:{port}", "room", "ann"):
            pass
    assert codes == [1000]
