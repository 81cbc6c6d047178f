"""Run one scenario: ``{"scenario": NAME, "url": URL, …parameters}`` on the first line of standard input.

It writes ``{}`` when its clients are ready. Each further input line orders a repetition, and the next output line has
its measurements. Between repetitions the clients answer pings. The scenario ends when its input ends.
"""

from __future__ import annotations

import gc
import sys

import msgspec

from chatsys.errors import OperatorError
from chatsys.lab.clients.scenarios import SCENARIOS
from chatsys.lab.clients.sockets import RawClients


def main() -> None:
    """Read orders and write the measurements of each."""
    order = msgspec.json.decode(sys.stdin.readline())
    with RawClients(order.pop("url")) as clients:
        scenario = SCENARIOS[order.pop("scenario")](clients, **order)
        found = next(scenario)
        gc.disable()  # a pause would delay a send; reference counting alone frees everything that a scenario creates
        while True:
            print(msgspec.json.encode(found).decode(), flush=True)
            clients.idle_until(sys.stdin.fileno())
            if not (line := sys.stdin.readline()):
                return
            found = scenario.send(msgspec.json.decode(line))


if __name__ == "__main__":
    try:
        main()
    except OperatorError as error:
        sys.exit(error.message)
