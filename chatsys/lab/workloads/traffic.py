"""Traffic during a kill. It remembers which messages were acknowledged, so that they can be looked for afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from chatsys.client.requests import got
from chatsys.errors import OperatorError
from chatsys.lab.clients.sockets import RawClient, RawClients

_ACK = b"43"
_PAGE = 1_000


class GuestTraffic:
    """Guests, each in a room of its own. Each sends its next message when the last one is acknowledged.

    They run on their own thread until the block ends or the server is gone.
    """

    def __init__(self, url: str, rooms: Sequence[str]) -> None:
        self.acknowledged: set[str] = set()
        self._url = url
        self._rooms = rooms
        self._answered: dict[RawClient, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic")

    def __enter__(self) -> GuestTraffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for(self, acknowledged: int, timeout: float = 30) -> None:
        """Wait until ``acknowledged`` messages are acknowledged. Raises OperatorError after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while len(self.acknowledged) < acknowledged:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise OperatorError(f"The server acknowledged {len(self.acknowledged)} of {acknowledged} messages.")
            time.sleep(0.005)

    def _run(self) -> None:
        with RawClients(self._url) as clients:
            for room in self._rooms:
                member = clients.connect()
                member.emit("join", {"username": "sender", "room": room}, ack=0)
            while not self._stop.is_set() and not all(member.closed for member in clients.members):
                clients.pump(0.02)
                for member in clients.members:
                    self._answer(member)

    def _answer(self, member: RawClient) -> None:
        """Note the acknowledgements that arrived since the last call, and send a message after each."""
        answers = [text for _, text in member.texts() if text.startswith(_ACK)]
        for text in answers[self._answered.get(member, 0) :]:
            (answer,) = msgspec.json.decode(text[text.index(b"[") :])
            if "id" in answer:
                self.acknowledged.add(answer["id"])
            self._send(member)
        self._answered[member] = len(answers)

    def _send(self, member: RawClient) -> None:
        try:
            member.emit("send-message", {"message": "will you survive"}, ack=1)
        except OperatorError:  # the server was killed
            member.closed = True


def stored_ids(url: str, room: str) -> set[str]:
    """The ids of all messages in a room of a server."""
    found: set[str] = set()
    while True:
        path = f"/api/rooms/{quote(room, safe='')}/messages?limit={_PAGE}&offset={len(found)}"
        page = got(url, path)["data"]
        found |= {message["id"] for message in page}
        if len(page) < _PAGE:
            return found
