"""What a user costs the generator: CPU for each received push and memory for each user, beside Locust's own user.

``python -m chatsys.loadtesting.cost`` starts a stock python-socketio server, and then by turns (A B B A ...) a process
with lean users and one with ``locust.contrib.socketio.SocketIOUser``. Both receive the same chat messages at the same
pace and time each push into Locust's statistics; the lean ones keep their ledger too. CPU is the client process's own.
With ``--k6 PROGRAM`` a third one is k6: its script reads each push and adds its time to a Trend. What k6 spends on its
own start and on connecting is measured by a run of one push, and left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

LEAN, LOCUST, K6 = "lean", "locust", "k6"
SCRIPT = Path(__file__).with_name("cost.k6.js")
EVENT = "receive-message"
PACE = 0.02
"""Seconds between two broadcasts: each push is read by itself, as at the pace of people."""


class Cost(dict[str, float]):
    """One process's figures: ``cpu_us`` for each push, ``kib`` of memory for each user, and how many ``pushes``."""


def main() -> None:
    """Measure and print; see the module."""
    parser = argparse.ArgumentParser(prog="python -m chatsys.loadtesting.cost", description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=int, default=400)
    parser.add_argument("--pushes", type=int, default=250, help="pushes to each user in each turn")
    parser.add_argument("--rounds", type=int, default=2, help="a round is A B B A")
    parser.add_argument("--k6", metavar="PROGRAM", help="measure this k6 too")
    options = parser.parse_args()
    print(report(measured(options.users, options.pushes, options.rounds, options.k6)))


def measured(users: int, pushes: int, rounds: int, k6: str | None = None) -> dict[str, list[Cost]]:
    """The costs of each kind of user, one for each turn."""
    kinds = (LEAN, LOCUST, K6) if k6 else (LEAN, LOCUST)
    server = _child("server")
    try:
        host = server.stdout.readline().strip()
        found: dict[str, list[Cost]] = {kind: [] for kind in kinds}
        for kind in (kinds + kinds[::-1]) * rounds:
            if k6 and kind == K6:
                found[kind].append(_of_k6(k6, host, users, pushes))
                continue
            client = _child(kind, host, str(users), str(pushes))
            out, _ = client.communicate(timeout=300)
            if client.returncode:
                raise SystemExit(f"the {kind} users ended with status {client.returncode}")
            found[kind].append(Cost(json.loads(out.splitlines()[-1])))
        return found
    finally:
        server.terminate()
        server.wait(10)


def report(found: dict[str, list[Cost]]) -> str:
    """The table, and the ratio of the medians with the least and the greatest ratio of two turns."""
    lines = ["users        turns   pushes   CPU us/push (median, min-max)   KiB/user (median)"]
    for kind, turns in found.items():
        cpu = sorted(turn["cpu_us"] for turn in turns)
        memory = statistics.median(turn["kib"] for turn in turns)
        spread = f"{statistics.median(cpu):8.1f}  {cpu[0]:.1f}-{cpu[-1]:.1f}"
        lines.append(f"{kind:<10} {len(turns):7} {int(turns[0]['pushes']):8}   {spread:<28} {memory:8.1f}")
    for kind, whose in ((LOCUST, "Locust's own user"), (K6, "k6")):
        if kind in found:
            ratio, (least, most) = ratio_of(found, kind), ratio_range(found, kind)
            lines.append(f"{whose} costs {ratio:.1f} times the CPU of a lean user (from {least:.1f} to {most:.1f}).")
    return "\n".join(lines)


def ratio_of(found: dict[str, list[Cost]], kind: str = LOCUST) -> float:
    """How many times the CPU of a lean user's push another kind costs: the ratio of the medians."""
    lean, other = (statistics.median(turn["cpu_us"] for turn in found[each]) for each in (LEAN, kind))
    return other / lean


def ratio_range(found: dict[str, list[Cost]], kind: str = LOCUST) -> tuple[float, float]:
    """The least and the greatest ratio of any two turns."""
    lean, other = ([turn["cpu_us"] for turn in found[each]] for each in (LEAN, kind))
    return min(other) / max(lean), max(other) / min(lean)


def _of_k6(program: str, host: str, users: int, pushes: int) -> Cost:
    """One turn of k6: two runs, whose difference is what the pushes cost."""
    (least, _), (whole, size) = (_run_k6(program, host, users, count) for count in (1, pushes))
    return Cost(cpu_us=(whole - least) / (users * (pushes - 1)) * 1e6, kib=size / users, pushes=users * pushes)


def _run_k6(program: str, host: str, users: int, pushes: int) -> tuple[float, float]:
    """Seconds of processor time, and KiB of memory at most. Raises SystemExit if it fails or pushes are missing."""
    given = {"HOST": host.removeprefix("http://"), "USERS": str(users), "PUSHES": str(pushes)}
    command = [program, "run", "--quiet", *(word for item in given.items() for word in ("-e", "=".join(item)))]
    with subprocess.Popen([*command, str(SCRIPT)], stdout=subprocess.PIPE, text=True) as k6:
        assert k6.stdout is not None
        said = k6.stdout.read()
        _, status, used = os.wait4(k6.pid, 0)
        k6.returncode = os.waitstatus_to_exitcode(status)
    if k6.returncode or f"pushes={users * pushes}" not in said:
        raise SystemExit(f"k6 ended with status {k6.returncode}: {said[-500:]}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / (1024 if sys.platform == "darwin" else 1)


def _child(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "chatsys.loadtesting.cost", "--as", *arguments], stdout=subprocess.PIPE, text=True
    )


# -- the server


def serve() -> None:
    """A stock server: an acknowledged ``go`` makes it push that many chat messages to all."""
    import socketio
    import uvicorn

    io = socketio.AsyncServer(async_mode="asgi")

    async def go(_sid: str, counts: list[int]) -> None:
        io.start_background_task(_broadcast, io, sum(counts))

    io.on("go", go)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(socketio.ASGIApp(io), log_level="warning", access_log=False)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


async def _broadcast(io: Any, count: int) -> None:
    from chatsys.results.stamps import now, text_of

    for seq in range(1, count + 1):
        at = now()
        await io.emit(EVENT, _message(seq, text_of("cost", f"{seq:x}", at, at)))
        await asyncio.sleep(PACE)


def _message(seq: int, text: str) -> dict[str, Any]:
    """A message as the contract (§7) has it."""
    user = "0198d5a0-0000-7000-8000-000000000001"
    return {
        "id": f"0198d5a0-0000-7000-8000-{seq:012x}",
        "username": "load_0123456789abcdef",
        "displayName": "load_0123456789abcdef",
        "avatar": "https://ui-avatars.com/api/?name=load_0123456789abcdef&background=667eea&color=fff",
        "userId": user,
        "message": text,
        "room": "load-0",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "delivered": False,
        "deliveredTo": [],
        "read": False,
        "readBy": [],
        "seq": seq,
        "editedAt": None,
    }


# -- the clients


def receive(kind: str, host: str, users: int, pushes: int) -> Cost:
    """Connect, receive, and say what it cost. Raises SystemExit if pushes are missing."""
    import gevent
    from locust.env import Environment

    user_class, got = _lean(pushes) if kind == LEAN else _own()
    user_class.host = host
    environment = Environment(user_classes=[user_class], host=host)
    runner = environment.create_local_runner()
    if kind == LEAN:
        from chatsys.loadtesting.socketio_user import FIGURES

        FIGURES.attach(environment)
    before = psutil.Process().memory_info().rss
    runner.start(users, spawn_rate=100)
    while runner.state != "running" or len(got) < users:
        gevent.sleep(0.1)
    gevent.sleep(1.0)
    begun = time.process_time()
    got[0].begin(pushes)
    deadline = time.monotonic() + 120
    while sum(user.received for user in got) < users * pushes and time.monotonic() < deadline:
        gevent.sleep(0.1)
    used = time.process_time() - begun
    memory = psutil.Process().memory_info().rss - before
    total = sum(user.received for user in got)
    if total != users * pushes:
        raise SystemExit(f"{total} of {users * pushes} pushes came")
    return Cost(cpu_us=used / total * 1e6, kib=memory / users / 1024, pushes=total)


def _lean(pushes: int) -> tuple[Any, list[Any]]:
    from locust import task

    from chatsys.loadtesting.dialects import NumberedPush
    from chatsys.loadtesting.socketio_user import FIGURES, SocketIOUser
    from chatsys.results.ledger import LedgerMember, MessageLedger
    from chatsys.results.stamps import now

    room, got = MessageLedger().room("load-0"), []

    class Lean(SocketIOUser):
        """Receives as the chat users do."""

        def on_start(self) -> None:
            self.member = LedgerMember(room)
            self.member.begin(0)
            self.timing = FIGURES.timing("push", EVENT)
            self.io.on(EVENT, self.on_push, NumberedPush)
            self.connect()
            got.append(self)

        def on_push(self, push: NumberedPush) -> None:
            stamp = self.member.receive(push.seq, push.id, push.message)
            self.timing.add((now() - stamp.sent) / 1e6)

        @property
        def received(self) -> int:
            return self.member.next - 1

        def begin(self, count: int) -> None:
            self.emit("go", [count])

        @task
        def rest(self) -> None:
            import gevent

            gevent.sleep(3600)

    return Lean, got


def _own() -> tuple[Any, list[Any]]:
    import gevent
    from locust import task
    from locust.contrib.socketio import SocketIOUser

    from chatsys.results.stamps import now, stamp_of

    got: list[Any] = []

    class Own(SocketIOUser):
        """Locust's user, told to time each push."""

        def on_start(self) -> None:
            self.received = 0
            self.sio.on(EVENT, self.on_push)
            self.sio.connect(self.host, transports=["websocket"])
            got.append(self)

        def on_push(self, payload: dict[str, Any]) -> None:
            self.received += 1
            ms = (now() - stamp_of(payload["message"]).sent) / 1e6
            self.environment.events.request.fire(
                request_type="push", name=EVENT, response_time=ms, response_length=0, exception=None, context={}
            )

        def begin(self, count: int) -> None:
            self.sio.emit("go", [count])

        @task
        def rest(self) -> None:
            gevent.sleep(3600)

    return Own, got


if __name__ == "__main__":
    if sys.argv[1:2] != ["--as"]:
        main()
    elif sys.argv[2] == "server":
        serve()
    else:
        kind, host, users, pushes = sys.argv[2:]
        print(json.dumps(receive(kind, host, int(users), int(pushes))), flush=True)
        os._exit(0)  # the users still sleep; nothing is left to save
