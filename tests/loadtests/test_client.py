"""The lean Socket.IO client against a stock server, over both transports."""

from __future__ import annotations

import pytest

from tests.loadtests.conftest import keep, promises


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("promise", promises("client"))
def test_the_client_promises(promise: str, transport: str, stock_server: str) -> None:
    keep("client", promise, stock_server, transport)
