"""Who may do what: each row of docs/SECURITY.md is tried."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chatsys.web.catalogue import ENDPOINTS
from tests.web.conftest import bearer

PAGE = (Path(__file__).parents[2] / "docs" / "SECURITY.md").read_text()
ROWS = re.findall(r"^\| `([A-Z]+) (/\S*)` \| (\d+) \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)


def test_every_endpoint_has_its_row_in_the_security_page():
    listed = [entry for entries in ENDPOINTS.values() for entry in ([entries] if isinstance(entries, str) else entries)]
    assert [f"{method} {path}" for method, path, *_ in ROWS] == [*listed, "GET /api/ready", "GET /metrics"]


@pytest.mark.parametrize(("method", "path", "nobody", "another", "owner"), ROWS, ids=lambda cell: cell)
async def test_endpoint_answers_only_the_clients_that_its_row_allows(
    client, account, method, path, nobody, another, owner
):
    alice, bob = await account("alice"), await account("bob")
    target = path.replace(":userId", alice["userId"]).replace(":room", "general").replace(":query", "ali")
    statuses = []
    for number, headers in enumerate([{}, bearer(bob["token"]), bearer(alice["token"])]):
        fields = {"username": f"carol{number}", "email": f"carol{number}@example.org", "password": "a password"}
        if path.endswith("/login"):
            fields = {"username": "alice", "password": alice["password"]}
        if method == "PUT":
            fields = {"bio": "changed"}
        sent = {} if method in {"GET", "DELETE"} else {"json": fields}
        statuses.append((await client.request(method, target, headers=headers, **sent)).status_code)
    assert statuses == [int(nobody), int(another), int(owner)]
