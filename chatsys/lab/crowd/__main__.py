"""Run one scene: ``{"scene": NAME, "url": URL, …parameters}`` on the first line of standard input.

It says ``{}`` when its crowd is ready. Each further line is the order of a turn, whose measurements are the next line
of standard output. Between turns the crowd answers pings. The scene ends with its input.
"""

from __future__ import annotations

import gc
import sys

import msgspec

from chatsys.errors import OperatorError
from chatsys.lab.crowd.scenes import SCENES
from chatsys.lab.crowd.sockets import RawClients


def main() -> None:
    """Read orders, take turns, print what each gave."""
    order = msgspec.json.decode(sys.stdin.readline())
    with RawClients(order.pop("url")) as crowd:
        scene = SCENES[order.pop("scene")](crowd, **order)
        found = next(scene)
        gc.disable()  # reference counting frees all that it makes, and a pause would make a start late
        while True:
            print(msgspec.json.encode(found).decode(), flush=True)
            crowd.idle_until(sys.stdin.fileno())
            if not (line := sys.stdin.readline()):
                return
            found = scene.send(msgspec.json.decode(line))


if __name__ == "__main__":
    try:
        main()
    except OperatorError as error:
        sys.exit(error.message)
