"""The small Socket.IO client with stock servers, python-socketio and Node.js, over each transport."""

from __future__ import annotations

import pytest

from tests.certificates import certificate
from tests.loadtests.conftest import check_promise, node_server, promises

pytestmark = pytest.mark.process


@pytest.mark.parametrize("transport", ["websocket", "polling", "upgrade"])
@pytest.mark.parametrize("promise", promises("client"))
def test_client_keeps_its_promise(promise: str, transport: str, any_server: str) -> None:
    check_promise("client", promise, any_server, transport)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> object:
    """A Node.js server with TLS behind a path prefix, with a certificate for localhost; also the authority's file."""
    folder = tmp_path_factory.mktemp("tls")
    authority = certificate(folder, "authority", "DNS:authority")
    signed = certificate(folder, "server", "DNS:localhost", authority=authority)
    with node_server("/prefix", str(signed)) as address:
        yield address, str(authority)


@pytest.mark.parametrize("transport", ["websocket", "polling", "upgrade"])
@pytest.mark.parametrize("promise", promises("secure"))
def test_client_keeps_its_promise_over_tls(promise: str, transport: str, secure: tuple[str, str]) -> None:
    check_promise("secure", promise, *secure, transport)


@pytest.mark.parametrize("promise", promises("users"))
def test_load_user_keeps_its_promise(promise: str, reference_server: str) -> None:
    check_promise("users", promise, reference_server)
