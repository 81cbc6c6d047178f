"""Health, the root and the operator's endpoints (contract §11 and §14.6)."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest

from chatsys import errors
from chatsys.chat import conversation
from chatsys.errors import StoreError, StoreUnavailable
from chatsys.web import health
from tests.web.conftest import client_of


async def test_health_does_not_need_the_store(chat, client, monkeypatch):
    async def unavailable():
        raise StoreUnavailable

    monkeypatch.setattr(chat.store, "ping", unavailable)
    answer = await client.get("/api/health")
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"success", "message", "timestamp"}
    assert body["message"] == "Server is healthy"


async def test_root_names_every_endpoint_and_counts_sessions(client, enter):
    await enter("attic", socket_id="s1")
    await enter("attic", socket_id="s2")
    await enter("cellar", socket_id="s3")
    body = (await client.get("/")).json()
    assert set(body) == {"success", "message", "version", "documentation", "stats", "endpoints"}
    assert body["stats"] == {"activeUsers": 3, "totalRooms": 2}
    assert {name: len(entry) for name, entry in body["endpoints"].items() if name != "health"} == {
        "auth": 4,
        "users": 5,
        "rooms": 4,
    }
    assert body["endpoints"]["health"] == "GET /api/health"
    assert all(isinstance(body[name], str) and body[name] for name in ("message", "version", "documentation"))


async def test_every_endpoint_that_the_root_names_exists(client):
    endpoints = (await client.get("/")).json()["endpoints"]
    named = [*endpoints["auth"], *endpoints["users"], *endpoints["rooms"], endpoints["health"]]
    for entry in named:
        method, path = entry.split()
        target = path.replace(":", "")
        answer = await client.request(method, target)
        assert answer.json().get("message") != f"Route {target} not found"


async def test_ready_checks_the_store(client):
    answer = await client.get("/api/ready")
    assert (answer.status_code, answer.json()["success"]) == (200, True)


@pytest.mark.parametrize("fault", ["raises", "hangs"])
async def test_server_is_not_ready_while_the_store_does_not_answer(chat, monkeypatch, fault):
    async def unavailable(server_id):
        if fault == "hangs":
            await asyncio.sleep(3600)
        raise StoreUnavailable

    monkeypatch.setattr(health, "READY_SECONDS", 0.01)
    monkeypatch.setattr(chat.store, "check_writing", unavailable)
    async with client_of(chat) as client:
        answer = await client.get("/api/ready")
    assert answer.status_code == 503
    reason = "database silent" if fault == "hangs" else "database unavailable"
    assert answer.json() == {"success": False, "message": "Service temporarily unavailable", "reason": reason}
    assert int(answer.headers["retry-after"]) > 0


async def test_ready_names_every_error_in_fixed_words(chat, monkeypatch):
    failing = [errors.StoreError]
    monkeypatch.setattr(health, "READY_EVERY", 0.0)

    async def fail(server_id):
        error = failing[0].__new__(failing[0])
        StoreError.__init__(error, "role chat on db.internal", hint="its own words")
        raise error

    monkeypatch.setattr(chat.store, "check_writing", fail)
    page = (Path(__file__).parents[2] / "docs" / "ERRORS.md").read_text()
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, StoreError)]
    async with client_of(chat) as client:
        for kind in kinds:
            failing[:] = [kind]
            answer = await client.get("/api/ready")
            assert answer.status_code == 503
            assert answer.json().keys() == {"success", "message", "reason"}
            assert answer.json()["reason"] in health.REASONS.values()
    for reason in {*health.REASONS.values(), health.DEAF}:
        assert f"| {reason} |" in page


async def test_ready_requests_within_a_second_share_one_commit_and_its_answer(chat, client, monkeypatch):
    commits = []
    whole = chat.store.check_writing

    async def counted(server_id):
        commits.append(server_id)
        await whole(server_id)

    monkeypatch.setattr(chat.store, "check_writing", counted)
    answers = await asyncio.gather(*(client.get("/api/ready") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert commits == [chat.server_id]


async def test_root_and_metrics_answer_with_known_values_while_the_store_hangs(chat, client, enter, monkeypatch):
    await enter("attic", socket_id="s1")
    await client.get("/")

    async def hangs():
        await asyncio.sleep(3600)

    monkeypatch.setattr(chat.store, "activity", hangs)
    async with asyncio.timeout(5):
        assert (await client.get("/")).json()["stats"] == {"activeUsers": 1, "totalRooms": 1}
        page = (await client.get("/metrics")).text
    assert math.isnan(number(page, "chatsys_sessions"))


async def test_metrics_have_a_histogram_of_requests_by_method_and_status(client):
    await client.get("/api/health")
    await client.get("/nowhere")
    page = (await client.get("/metrics")).text
    for status in ("2xx", "4xx"):
        labels = f'method="GET",status="{status}"'
        assert number(page, f"chatsys_http_seconds_count{{{labels}}}") >= 1
        assert number(page, f'chatsys_http_seconds_bucket{{le="+Inf",{labels}}}') >= 1
        assert number(page, f"chatsys_http_seconds_sum{{{labels}}}") > 0


NUMBERS = [
    "chatsys_connections",
    "chatsys_sessions",
    "chatsys_rooms",
    "chatsys_messages_total",
    "chatsys_deliveries_total",
    "chatsys_flush_size_count",
    "chatsys_flush_seconds_sum",
    "chatsys_pool_wait_seconds_sum",
    "chatsys_waiting_bytes",
    "chatsys_slow_disconnects_total",
    "chatsys_event_loop_lag_seconds",
]


def number(page: str, name: str) -> float:
    (line,) = [line for line in page.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[1])


async def test_metrics_have_the_prometheus_text_format(chat, client, enter):
    before = (await client.get("/metrics")).text
    session = await enter("attic", socket_id="s1")
    await enter("attic", socket_id="s2")
    await conversation.send(chat, session, "hello")
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    after = answer.text
    assert all(number(after, name) >= 0 for name in NUMBERS)
    assert (number(after, "chatsys_sessions"), number(after, "chatsys_rooms")) == (2, 1)
    assert number(after, "chatsys_messages_total") == number(before, "chatsys_messages_total") + 1


async def test_metrics_do_not_need_the_store(chat, client, monkeypatch):
    async def unavailable():
        raise StoreUnavailable

    monkeypatch.setattr(chat.store, "activity", unavailable)
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert math.isnan(number(answer.text, "chatsys_sessions"))


async def test_setting_switches_metrics_off(chat):
    async with client_of(chat, metrics=False) as client:
        answer = await client.get("/metrics")
        assert (answer.status_code, answer.json()["message"]) == (404, "Route /metrics not found")
