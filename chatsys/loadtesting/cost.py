"""Compare the generator's CPU per received push and memory per user with those of Locust's own user.

``python -m chatsys.loadtesting.cost`` starts a stock python-socketio server. Then it alternates (A B B A ...) between a
process with lean users and one with ``locust.contrib.socketio.SocketIOUser``. Both receive the same chat messages at
the same pace and time each push into Locust's statistics; the lean users also keep their ledger. CPU is that of the
client process. ``--k6 PROGRAM`` adds k6, whose script reads each push and adds its time to a Trend. A k6 run with one
push measures what starting and connecting cost, and this is subtracted.
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
"""Seconds between two broadcasts: long enough that each push arrives alone, as in a chat of people."""


class Cost(dict[str, float]):
    """The figures of one process: ``cpu_us`` per push, ``kib`` of memory per user, and the number of ``pushes``."""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m chatsys.loadtesting.cost", description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=int, default=400, help="users in each process (default 400)")
    parser.add_argument("--pushes", type=int, default=250, help="pushes to each user in each run (default 250)")
    parser.add_argument("--rounds", type=int, default=2, help="rounds, each A B B A (default 2)")
    parser.add_argument("--k6", metavar="PROGRAM", help="measure this k6 program too")
    options = parser.parse_args()
    print(report(measured(options.users, options.pushes, options.rounds, options.k6)))


def measured(users: int, pushes: int, rounds: int, k6: str | None = None) -> dict[str, list[Cost]]:
    """The costs of each kind of user, one for each run."""
    kinds = (LEAN, LOCUST, K6) if k6 else (LEAN, LOCUST)
    server = _child("server")
    try:
        host = server.stdout.readline().strip()
        costs: dict[str, list[Cost]] = {kind: [] for kind in kinds}
        for kind in (kinds + kinds[::-1]) * rounds:
            if k6 and kind == K6:
                costs[kind].append(_of_k6(k6, host, users, pushes))
                continue
            client = _child(kind, host, str(users), str(pushes))
            out, _ = client.communicate(timeout=300)
            if client.returncode:
                raise SystemExit(f"the {kind} users ended with status {client.returncode}")
            costs[kind].append(Cost(json.loads(out.splitlines()[-1])))
        return costs
    finally:
        server.terminate()
        server.wait(10)


def report(costs: dict[str, list[Cost]]) -> str:
    """The table, and the ratio of the medians with the lowest and the highest ratio of two runs."""
    lines = ["users         runs   pushes   CPU us/push (median, min-max)   KiB/user (median)"]
    for kind, runs in costs.items():
        cpu = sorted(run["cpu_us"] for run in runs)
        memory = statistics.median(run["kib"] for run in runs)
        spread = f"{statistics.median(cpu):8.1f}  {cpu[0]:.1f}-{cpu[-1]:.1f}"
        lines.append(f"{kind:<10} {len(runs):7} {int(runs[0]['pushes']):8}   {spread:<28} {memory:8.1f}")
    for kind, owner in ((LOCUST, "Locust's own user"), (K6, "k6")):
        if kind in costs:
            lean, other = ([run["cpu_us"] for run in costs[each]] for each in (LEAN, kind))
            ratio = statistics.median(other) / statistics.median(lean)
            low, high = min(other) / max(lean), max(other) / min(lean)
            lines.append(f"{owner} costs {ratio:.1f} times the CPU of a lean user (from {low:.1f} to {high:.1f}).")
    return "\n".join(lines)


def _of_k6(program: str, host: str, users: int, pushes: int) -> Cost:
    """One measurement of k6: two runs, whose difference is what the pushes cost."""
    (start, _), (whole, size) = (_run_k6(program, host, users, count) for count in (1, pushes))
    return Cost(cpu_us=(whole - start) / (users * (pushes - 1)) * 1e6, kib=size / users, pushes=users * pushes)


def _run_k6(program: str, host: str, users: int, pushes: int) -> tuple[float, float]:
    """Seconds of processor time and peak memory in KiB. Raises SystemExit if k6 fails or pushes are missing."""
    variables = {"HOST": host.removeprefix("http://"), "USERS": str(users), "PUSHES": str(pushes)}
    command = [program, "run", "--quiet", *(word for item in variables.items() for word in ("-e", "=".join(item)))]
    with subprocess.Popen([*command, str(SCRIPT)], stdout=subprocess.PIPE, text=True) as k6:
        assert k6.stdout is not None
        output = k6.stdout.read()
        _, status, used = os.wait4(k6.pid, 0)
        k6.returncode = os.waitstatus_to_exitcode(status)
    if k6.returncode or f"pushes={users * pushes}" not in output:
        raise SystemExit(f"k6 ended with status {k6.returncode}: {output[-500:]}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / (1024 if sys.platform == "darwin" else 1)


def _child(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "chatsys.loadtesting.cost", "--as", *arguments], stdout=subprocess.PIPE, text=True
    )


# -- the server


def serve() -> None:
    """Run a stock server: on the event ``go`` it pushes that many chat messages to all."""
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
    """A message as the contract (§7) defines it."""
    return {
        "id": f"0198d5a0-0000-7000-8000-{seq:012x}",
        "username": "load_0123456789abcdef",
        "displayName": "load_0123456789abcdef",
        "avatar": "https://ui-avatars.com/api/?name=load_0123456789abcdef&background=667eea&color=fff",
        "userId": "0198d5a0-0000-7000-8000-000000000001",
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
    """Connect, receive, and return the cost. Raises SystemExit if pushes are missing."""
    import gevent
    from locust.env import Environment

    user_class, clients = _lean() if kind == LEAN else _locust()
    user_class.host = host
    environment = Environment(user_classes=[user_class], host=host)
    runner = environment.create_local_runner()
    if kind == LEAN:
        from chatsys.loadtesting.socketio_user import FIGURES

        FIGURES.attach(environment)
    before = psutil.Process().memory_info().rss
    runner.start(users, spawn_rate=100)
    while runner.state != "running" or len(clients) < users:
        gevent.sleep(0.1)
    gevent.sleep(1.0)
    began = time.process_time()
    clients[0].begin(pushes)
    deadline = time.monotonic() + 120
    while sum(user.received for user in clients) < users * pushes and time.monotonic() < deadline:
        gevent.sleep(0.1)
    used = time.process_time() - began
    memory = psutil.Process().memory_info().rss - before
    total = sum(user.received for user in clients)
    if total != users * pushes:
        raise SystemExit(f"only {total} of {users * pushes} pushes arrived")
    return Cost(cpu_us=used / total * 1e6, kib=memory / users / 1024, pushes=total)


def _lean() -> tuple[Any, list[Any]]:
    import gevent
    from locust import task

    from chatsys.loadtesting.dialects import NumberedPush
    from chatsys.loadtesting.socketio_user import FIGURES, SocketIOUser
    from chatsys.results.ledger import LedgerMember, MessageLedger
    from chatsys.results.stamps import now

    room, clients = MessageLedger().room("load-0"), []

    class Lean(SocketIOUser):
        """Receives as the chat users do."""

        def on_start(self) -> None:
            self.member = LedgerMember(room)
            self.member.begin(0)
            self.timing = FIGURES.timing("push", EVENT)
            self.io.on(EVENT, self.on_push, NumberedPush)
            self.connect()
            clients.append(self)

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
            gevent.sleep(3600)

    return Lean, clients


def _locust() -> tuple[Any, list[Any]]:
    import gevent
    from locust import task
    from locust.contrib.socketio import SocketIOUser

    from chatsys.results.stamps import now, stamp_of

    clients: list[Any] = []

    class Timed(SocketIOUser):
        """Locust's user, with a handler that times each push."""

        def on_start(self) -> None:
            self.received = 0
            self.sio.on(EVENT, self.on_push)
            self.sio.connect(self.host, transports=["websocket"])
            clients.append(self)

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

    return Timed, clients


if __name__ == "__main__":
    if sys.argv[1:2] != ["--as"]:
        main()
    elif sys.argv[2] == "server":
        serve()
    else:
        kind, host, users, pushes = sys.argv[2:]
        print(json.dumps(receive(kind, host, int(users), int(pushes))), flush=True)
        os._exit(0)  # the users still sleep; nothing is left to save
