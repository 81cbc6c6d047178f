"""The short form: the most important faults, each injected once under traffic. Latencies are not judged."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from chatsys.lab.faults.catalogue import chosen
from chatsys.lab.faults.injection import Load, inject
from chatsys.lab.faults.site import Site

LOAD = Load(rooms=2, size=4, every=0.2, calm=0.3)
SHORT = {fault.name: fault for fault in chosen(short=True)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    """Two servers on one PostgreSQL, for all injections of this process."""
    async with Site() as made:
        yield made


@pytest.mark.process
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", SHORT)
async def test_fault_loses_nothing_acknowledged_and_disconnects_nobody(site: Site, name: str) -> None:
    run = await inject(site, SHORT[name], [1], LOAD)
    (injection,) = run.injections
    assert not run.broken
    assert not injection.broken
    assert run.findings == []
    assert injection.recovery is not None
    assert injection.thrown_out == 0
    assert run.acknowledged == run.messages > 0
