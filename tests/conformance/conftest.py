"""Servers to check: chatsys on both stores, and one on the memory store behind a proxy that breaks things."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.flow.conftest import STORES, running_server


@pytest.fixture(scope="session", params=STORES)
def server_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on an empty store."""
    folder = tmp_path_factory.mktemp("judged")
    if request.param == "memory":
        with running_server("memory://", folder) as running:
            yield running.url
    else:
        with request.getfixturevalue("postgres_server").database() as url, running_server(url, folder) as running:
            yield running.url


@pytest.fixture(scope="session")
def sound_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server on the memory store without any fault."""
    with running_server("memory://", tmp_path_factory.mktemp("sound")) as running:
        yield running.url
