"""Limits costly work: a few pieces run at once, the rest wait in a bounded queue that is fair between clients."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chatsys.errors import Overloaded, StatementTimeout, StoreUnavailable


class FairSlots:
    """Runs ``at_once`` pieces of work, while ``waiting`` more wait in the queue, each for at most ``patience`` seconds.

    Clients (any key, such as an address) get slots in rotation, however much work each of them has waiting. If the
    queue is full, the client with the most waiting work loses its newest piece to a client with less. Work whose task
    is cancelled leaves the queue. If the store is unavailable for one piece of work, all waiting work is refused too.
    """

    def __init__(self, at_once: int, waiting: int, patience: float) -> None:
        self._free = at_once
        self._limit = waiting
        self._patience = patience
        self._waiting = 0
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def slot(self, client: str) -> AsyncIterator[None]:
        """Wait for a slot for ``client``, and keep it for the block. Raises Overloaded if that takes too long."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(client)
        try:
            yield
        except StoreUnavailable as error:
            if not isinstance(error, StatementTimeout):  # which concerns a single statement
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
                self._pass_on()  # it got its slot while the task gave up
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
        """Let the next client's work run, if any waits."""
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
