"""Run one scene: ``{"scene": NAME, "url": URL, …parameters}`` on the first line of standard input.

It says ``{}`` when its crowd is ready. Each further line is the order of a turn, whose measurements are the next line
of standard output. The scene ends with its input.
"""

from __future__ import annotations

import gc
import sys

import msgspec

from chatsys.lab.crowd.scenes import SCENES


def main() -> None:
    """Read orders, take turns, print what each gave."""
    order = msgspec.json.decode(sys.stdin.readline())
    scene = SCENES[order.pop("scene")](order.pop("url"), **order)
    found = next(scene)
    gc.freeze()
    while True:
        print(msgspec.json.encode(found).decode(), flush=True)
        if not (line := sys.stdin.readline()):
            return
        found = scene.send(msgspec.json.decode(line))


if __name__ == "__main__":
    main()
