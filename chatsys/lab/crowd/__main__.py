"""Run one scene: ``{"scene": NAME, "url": URL, …parameters}`` on the first line of standard input."""

from __future__ import annotations

import gc
import sys

import msgspec

from chatsys.lab.crowd.scenes import SCENES


def main() -> None:
    """Read the order, run the scene, print its measurements as the last line."""
    order = msgspec.json.decode(sys.stdin.readline())
    scene, url = SCENES[order.pop("scene")], order.pop("url")
    gc.freeze()
    print(msgspec.json.encode(scene(url, **order)).decode(), flush=True)


if __name__ == "__main__":
    main()
