"""The runner's side of a worker process: start it, send it orders, end it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from chatsys.errors import OperatorError
from chatsys.lab.runner.repetitions import Order, Repetition
from chatsys.lab.subjects.worker import LENGTH, Filled, Opening, WorkerFailed, frame


class SubjectProcess:
    """A subject in a process of its own. ``store`` is its name in the record, ``size`` its number of users."""

    def __init__(self, store: str, size: int, process: asyncio.subprocess.Process) -> None:
        self.store = store
        self.size = size
        self.process = process
        self.opened = Filled()

    async def repeat(self, order: Order) -> Repetition:
        """Perform a repetition in the process. Raises OperatorError if it fails."""
        return msgspec.convert(await self._ask(order), Repetition)

    async def open(self, opening: Opening) -> None:
        """Open and fill the subject in the process. Raises OperatorError if it fails."""
        self.opened = msgspec.convert(await self._ask(opening), Filled)

    async def _ask(self, request: Opening | Order) -> object:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(frame(msgspec.msgpack.encode(request)))
        await self.process.stdin.drain()
        try:
            head = await self.process.stdout.readexactly(LENGTH.size)
            answer = msgspec.msgpack.decode(await self.process.stdout.readexactly(LENGTH.unpack(head)[0]))
        except asyncio.IncompleteReadError as error:
            raise OperatorError(
                f"The process that holds {self.store} ended.",
                hint="See its errors above. The profile may be too large for this machine's memory.",
            ) from error
        if isinstance(answer, dict) and set(answer) == {"message"}:
            raise OperatorError(f"{self.store}: {msgspec.convert(answer, WorkerFailed).message}")
        return answer


async def piped(module: str, limit: int) -> asyncio.subprocess.Process:
    """A new process that runs a module of the lab; ``limit`` is the longest line that can be read from it.

    Ctrl-C goes to the runner alone, which then ends its processes.
    """
    pipe, command = asyncio.subprocess.PIPE, (sys.executable, "-m", module)
    return await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=limit, start_new_session=True)


@asynccontextmanager
async def subject_process(store: str, opening: Opening) -> AsyncIterator[SubjectProcess]:
    """An open subject. Its process ends with the block."""
    process = await piped("chatsys.lab.subjects.worker", 64 * 1024 * 1024)
    subject = SubjectProcess(store, opening.users, process)
    try:
        await subject.open(opening)
        yield subject
    except BaseException:  # interrupted or failed: the process may be in the middle of a long repetition
        process.kill()
        raise
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()
