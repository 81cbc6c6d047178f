"""Send malformed HTTP, WebSocket frames and Socket.IO packets, while another client, the sentinel, keeps chatting.

Each case is valid input with bytes cut, repeated, inserted or changed, so that it passes the first checks. Requests
generated from ``/openapi.json`` are complete HTTP, and their answers must be as it describes.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from chatsys.client.asynchronous import connected
from chatsys.lab.clients.sockets import text_frame
from chatsys.lab.faults.record import FaultsResult, Fuzzed, save
from chatsys.lab.faults.site import Site, SiteServer
from chatsys.lab.faults.traffic import clock

SENDERS = 2
CONCURRENT_CASES = 12
"""Cases that one sender sends at the same time on raw sockets."""
_MIB = 1024 * 1024
_TIMEOUT = 0.05

_HTTP = (
    b"GET /api/rooms/general/messages?limit=10&offset=0 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 39\r\n\r\n"
    b'{"username":"nobody","password":"none"}',
    b"GET /api/users/search/%C3%A9 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a.b.c\r\n\r\n",
    b"PUT /api/users/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"OPTIONS /api/rooms HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nAccess-Control-Request-Method: GET\r\n\r\n",
    b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n",
)
_UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_PACKETS = (
    b'42["join",{"room":"fuzz","username":"fuzz"}]',
    b'421["send-message",{"message":"hello","clientMessageId":"a"}]',
    b'42["typing",true]',
    b'42["message-read",{"messageId":"0198d5a0-0000-7000-8000-000000000001","room":"fuzz"}]',
    b'451-["send-message",{"message":{"_placeholder":true,"num":0}}]',
    b'42["mark-all-read",{"room":"fuzz"}]',
    b'42["leave-room"]',
    b"40",
    b"41",
    b"3",
    b"2probe",
)
_INSERTED = (b"\0", b"\xff\xfe", b"9" * 30, b"[[[[[[", b'"', b"\r\n", b"%00", b"\xed\xa0\x80")


def damaged(rng: random.Random, valid: bytes) -> bytes:
    """``valid`` with some bytes changed, cut, repeated or inserted."""
    data = bytearray(valid)
    for _ in range(rng.randint(1, 4)):
        index = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0:
                data[index : index + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[index : index + rng.randint(1, 8)]
            case 2:
                data[index:index] = data[: rng.randint(1, 16)]
            case 3:
                data[index:index] = rng.choice(_INSERTED)
            case _:
                del data[index:]
    return bytes(data)


def http_case(rng: random.Random) -> bytes:
    """One damaged request."""
    return damaged(rng, rng.choice(_HTTP))


def frame_case(rng: random.Random) -> bytes:
    """WebSocket frames with damaged headers and packets."""
    return _UPGRADE + text_frame(b"40") + b"".join(damaged(rng, text_frame(rng.choice(_PACKETS))) for _ in range(3))


def packet_case(rng: random.Random) -> bytes:
    """Valid WebSocket frames with damaged packets."""
    return _UPGRADE + text_frame(b"40") + b"".join(text_frame(damaged(rng, rng.choice(_PACKETS))) for _ in range(3))


DESCRIBED = "HTTP by openapi.json"
KINDS: dict[str, Callable[[random.Random], bytes] | None] = {
    "HTTP": http_case,
    "WebSocket frames": frame_case,
    "packets": packet_case,
    DESCRIBED: None,
}
"""The function that makes a case of each kind. None: module ``described`` makes the cases."""


async def perform(result: FaultsResult, cases: int, folder: Path, say: Callable[[str], None], commit: str = "") -> None:
    """Send the kinds that the result lacks, and note ``commit`` with them."""
    for kind in KINDS:
        if all(each.kind != kind for each in result.fuzzing):
            async with Site(servers=1) as site:
                fuzzed = await fuzz(site, kind, cases, result.seed)
            result.fuzzing.append(msgspec.structs.replace(fuzzed, commit=commit))
            save(result, folder)
            text = f"{fuzzed.errors} wrong answers, {fuzzed.tracebacks} tracebacks, {fuzzed.growth_mib:.0f} MiB more"
            say(f"malformed input, {kind}: {text}, slowest answer to another client {fuzzed.sentinel_ms:.0f} ms")


async def fuzz(site: Site, kind: str, cases: int, seed: int) -> Fuzzed:
    """Send ``cases`` of one kind from SENDERS processes, while the sentinel sends a message about every 20 ms."""
    server = site.servers[0]
    before = server.process.resident_bytes
    answers: list[float] = []
    sentinel = asyncio.create_task(_sentinel(server, answers))
    shares = [cases // SENDERS + (number < cases % SENDERS) for number in range(SENDERS)]
    sending = [
        site.in_process(_send, kind, server.address(), share, seed * SENDERS + number)
        for number, share in enumerate(shares)
    ]
    errors = sum(await asyncio.gather(*sending))
    sentinel.cancel()
    with suppress(asyncio.CancelledError):
        await sentinel
    return Fuzzed(
        kind=kind,
        cases=cases,
        errors=errors,
        tracebacks=server.log().count("Traceback"),
        growth_mib=(server.process.resident_bytes - before) / _MIB,
        sentinel_ms=max(answers, default=0.0) * 1000,
    )


def _send(kind: str, url: str, cases: int, seed: int) -> int:
    """Send cases, and return how many answers were a 500 or not as ``/openapi.json`` describes."""
    make_case = KINDS[kind]
    if make_case is not None:
        return asyncio.run(_send_raw(url, make_case, cases, seed))
    from chatsys.lab.faults import described

    return described.send(url, cases, seed)


async def _send_raw(url: str, make_case: Callable[[random.Random], bytes], cases: int, seed: int) -> int:
    """Send cases on raw sockets, and return how many answers were a 500."""
    rng = random.Random(seed)  # noqa: S311 - draws of an experiment
    left = iter(range(cases))  # shared by the concurrent senders
    errors = 0

    async def send() -> None:
        nonlocal errors
        for _ in left:
            errors += b" 500 " in (await _answer(url, make_case(rng)))[:20]

    await asyncio.gather(*(send() for _ in range(CONCURRENT_CASES)))
    return errors


async def _sentinel(server: SiteServer, answers: list[float]) -> None:
    """Send messages, and note the seconds until each acknowledgement. Raises SocketIOError if it is disconnected."""
    socket = await connected(server.address())
    try:
        await socket.call("join", {"room": "sentinel", "username": "sentinel"})
        while True:
            begin = clock()
            await socket.call("send-message", {"message": "still here"}, timeout=30)
            answers.append(clock() - begin)
            await asyncio.sleep(0.02)
    finally:
        socket.abort()


async def _answer(url: str, case: bytes) -> bytes:
    """Send one case, and return the first part of the answer; empty if there is none within _TIMEOUT."""
    parts = urlsplit(url)
    try:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except OSError:
        return b""
    try:
        writer.write(case)
        await writer.drain()
        async with asyncio.timeout(_TIMEOUT):
            return await reader.read(4096)
    except (OSError, TimeoutError):
        return b""
    finally:
        writer.transport.abort()
