"""Turns: a few pieces of costly work at once, the rest waiting in a bounded queue that is fair between clients."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chatsys.errors import Overloaded, StatementTimeout, StoreUnavailable


class Turns:
    """``places`` pieces of work at once and ``waiting`` more in the queue, each for at most ``patience`` seconds.

    Clients (any key: an address) take turns, whatever the number that each has waiting. In a full queue the newest work
    of the client that has most of it makes room for one that has less. Work whose task is cancelled leaves the queue.
    When the store is away for one piece of work, it is for those who wait as well: they are refused with it.
    """

    def __init__(self, places: int, waiting: int, patience: float) -> None:
        self._free = places
        self._limit = waiting
        self._patience = patience
        self._waiting = 0
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn of ``client`` and keep it for the body. Raises Overloaded instead of waiting too long."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(client)
        try:
            yield
        except StoreUnavailable as error:
            if not isinstance(error, StatementTimeout):  # that is the fault of a single statement
                self._refuse_all()
            raise
        finally:
            self._pass_on()

    async def _wait(self, client: str) -> None:
        if self._waiting >= self._limit:
            self._make_room(client)
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(client, deque()).append(ticket)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await ticket
        except BaseException as error:
            if ticket.done() and not ticket.cancelled() and ticket.exception() is None:
                self._pass_on()  # it was let in while it was given up
            elif not ticket.done() or ticket.cancelled():
                self._forget(client, ticket)
            if isinstance(error, TimeoutError):
                raise Overloaded from error
            raise

    def _make_room(self, client: str) -> None:
        most = max(self._queues, key=lambda key: len(self._queues[key]), default=client)
        if len(self._queues.get(most, ())) <= len(self._queues.get(client, ())) + 1:
            raise Overloaded
        ticket = self._queues[most][-1]
        self._forget(most, ticket)
        if not ticket.done():
            ticket.set_exception(Overloaded())

    def _refuse_all(self) -> None:
        queues, self._queues, self._waiting = self._queues, OrderedDict(), 0
        for queue in queues.values():
            for ticket in queue:
                if not ticket.done():
                    ticket.set_exception(Overloaded())

    def _forget(self, client: str, ticket: asyncio.Future[None]) -> None:
        queue = self._queues.get(client)
        if queue is not None and ticket in queue:
            queue.remove(ticket)
            self._waiting -= 1
            if not queue:
                del self._queues[client]

    def _pass_on(self) -> None:
        """Let the next client in, or keep the place free."""
        while self._queues:
            client, queue = self._queues.popitem(last=False)
            ticket = queue.popleft()
            self._waiting -= 1
            if queue:
                self._queues[client] = queue  # behind the others
            if not ticket.done():
                ticket.set_result(None)
                return
        self._free += 1
