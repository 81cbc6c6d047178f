"""``/openapi.json`` is valid and has every route, and its checker (tests/web/described.py) finds violations."""

from __future__ import annotations

import json

import jsonschema
import msgspec
import pytest
from openapi_spec_validator import validate

from chatsys import web
from chatsys.chat import conversation
from chatsys.errors import StoreUnavailable
from chatsys.model import rules
from chatsys.web import health, make_app
from chatsys.web.catalogue import ALWAYS, OPERATIONS
from chatsys.wire import answers, examples, requests, schemas
from chatsys.wire.objects import encode
from tests.web import described
from tests.web.asking import ask
from tests.web.conftest import bearer, client_of, without_store

DOCUMENT = described.DOCUMENT
BROWSER = {"Accept": "text/html"}


def test_openapi_document_is_valid():
    validate(DOCUMENT)


@without_store
async def test_openapi_document_is_served(client):
    assert (await client.get("/openapi.json")).json() == DOCUMENT


def test_every_route_has_its_row_and_every_row_its_route():
    routers = [noun.router for noun in vars(web).values() if hasattr(noun, "router")] + [health.metrics_router]
    routes = [route for router in routers for route in router.routes]
    served = {(method, route.path.replace(":path", "")) for route in routes for method in route.methods}
    assert served == {(row.method, row.path) for row in OPERATIONS}
    assert len({row.name for row in OPERATIONS}) == len(OPERATIONS)


def test_every_example_conforms_to_its_schema():
    shown = 0
    described_answers = list(DOCUMENT["components"]["responses"].values())
    for operations in DOCUMENT["paths"].values():
        for row in operations.values():
            described_answers += [given for given in row["responses"].values() if "$ref" not in given]
            described_answers += [row["requestBody"]] if "requestBody" in row else []
    for given in described_answers:
        for media in given.get("content", {}).values():
            values = [each["value"] for each in media.get("examples", {}).values()]
            for value in [*values, *([media["example"]] if "example" in media else [])]:
                described.matches(media["schema"], value)
                shown += 1
    assert shown > 60


REFUSED = [
    (200, b'{"success":true,"message":"Server is healthy"}', "required"),
    (200, b'{"success":true,"message":"","timestamp":"2026-01-02T03:04:05.006Z","more":1}', "Additional properties"),
    (200, b'{"success":true,"message":"","timestamp":"2026-01-02T03:04:05Z"}', "does not match"),
    (200, b'{"success":false,"message":"","timestamp":"2026-01-02T03:04:05.006Z"}', "True was expected"),
    (201, b"{}", "not described"),
    (404, b'{"success":false,"message":"no"}', "not described"),
]


@pytest.mark.parametrize(("status", "body", "why"), REFUSED)
def test_answer_that_differs_from_its_description_is_detected(status, body, why):
    right = b'{"success":true,"message":"Server is healthy","timestamp":"2026-01-02T03:04:05.006Z"}'
    kind = {"content-type": "application/json"}
    assert described.check("GET", "/api/health/?x=1", 200, kind, right) == ("GET", "/api/health", 200)
    with pytest.raises((AssertionError, jsonschema.ValidationError), match=why):
        described.check("GET", "/api/health", status, kind, body)
    with pytest.raises(AssertionError, match="text/html"):
        described.check("GET", "/api/health", 200, {"content-type": "text/html"}, right)


async def test_every_specific_status_of_an_endpoint_is_reached(chat, client, account, enter):
    """Each answer is checked as it arrives. This test checks that everything described can happen."""
    alice, bob, gone = await account("alice"), await account("bob"), await account("gone")
    session = await enter("attic", socket_id="s1", token=alice["token"])
    await conversation.send(chat, session, "hello")
    await client.delete(f"/api/users/{gone['userId']}", headers=bearer(gone["token"]))
    reached = set()

    async def send(method, target, expected, **sent):
        answer = await client.request(method, target, **sent)
        assert answer.status_code == expected, (method, target, answer.text)
        path, _ = described.endpoint(method, target)
        reached.add((method, path, expected))
        return answer

    named, wrong = {"username": "bob", "password": bob["password"]}, {"username": "eve", "password": "no password"}
    own, other, lost = (f"/api/users/{each['userId']}" for each in (alice, bob, gone))
    await send("POST", "/api/auth/register", 201, json={**named, "username": "carol", "email": "carol@example.org"})
    await send("POST", "/api/auth/register", 400, json={})
    await send("POST", "/api/auth/login", 200, json=named)
    await send("POST", "/api/auth/login", 400, json={})
    for _ in range(chat.limits.login_attempts):
        await send("POST", "/api/auth/login", 401, json=wrong)
    await send("POST", "/api/auth/login", 429, json=wrong)
    await send("GET", "/api/auth/verify", 200, headers=bearer(alice["token"]))
    await send("GET", "/api/auth/verify", 401)
    await send("POST", "/api/auth/logout", 200)
    await send("GET", "/api/users", 200)
    await send("GET", "/api/users/search/ali", 200)
    await send("GET", "/api/users/search/%zz", 400)
    await send("GET", own, 200)
    await send("GET", lost, 404)
    await send("GET", "/api/users/%zz", 400)
    await send("PUT", own, 200, json={"bio": "new"}, headers=bearer(alice["token"]))
    await send("PUT", own, 400, json={"bio": 1}, headers=bearer(alice["token"]))
    await send("PUT", own, 401, json={})
    await send("PUT", own, 403, json={}, headers=bearer(bob["token"]))
    await send("PUT", lost, 404, json={}, headers=bearer(gone["token"]))
    await send("DELETE", "/api/users/%zz", 400)
    await send("DELETE", other, 401)
    await send("DELETE", other, 403, headers=bearer(alice["token"]))
    await send("DELETE", lost, 404, headers=bearer(gone["token"]))
    await send("DELETE", other, 200, headers=bearer(bob["token"]))
    await send("GET", "/api/rooms?limit=1", 200)
    await send("GET", "/api/rooms?limit=x", 400)
    for part in ("users", "messages", "stats"):
        await send("GET", f"/api/rooms/attic/{part}", 200)
        await send("GET", f"/api/rooms/%zz/{part}", 400)
    for path in ("/api/health", "/api/ready", "/metrics"):
        await send("GET", path, 200)
    for path in ("/", "/openapi.json", "/asyncapi.json", "/docs", "/chat/", "/chat/style.css"):
        answer = await send("GET", path, 200, headers=BROWSER)
        await send("GET", path, 304, headers={**BROWSER, "If-None-Match": answer.headers["etag"]})
    await send("GET", "/chat", 308)
    await send("GET", "/docs/", 308)
    await send("GET", "/chat/nothing.js", 404)

    async def unavailable(*_):
        raise StoreUnavailable

    chat.store.check_writing = unavailable
    async with client_of(chat) as another:
        assert (await another.get("/api/ready")).status_code == 503
    reached.add(("GET", "/api/ready", 503))
    async with client_of(chat, metrics=False) as another:
        assert (await another.get("/metrics")).status_code == 404
    reached.add(("GET", "/metrics", 404))
    own_statuses = {
        (row.method, row.path, int(status))
        for row in OPERATIONS
        for status, given in DOCUMENT["paths"][row.path][row.method.lower()]["responses"].items()
        if "$ref" not in given and status != "499"  # no client is left to get an answer
    }
    assert reached == own_statuses


@without_store
@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: f"{row.method} {row.path}")
async def test_every_endpoint_refuses_a_body_that_is_too_large(chat, row):
    status, _, _ = await ask(make_app(chat), row.method, row.path.encode(), {"content-length": "102401"})
    assert status == 413


@pytest.mark.parametrize("path", ["/api/users", "/api/users/search/x", "/api/rooms", "/api/rooms/x/messages"])
async def test_faults_and_outages_are_described(chat, client, monkeypatch, path):
    for error, expected in ((StoreUnavailable(), 503), (RuntimeError(), 500)):

        async def fail(*_, error=error, **__):
            raise error

        for verb in ("list_users", "search_users", "rooms", "history"):
            monkeypatch.setattr(chat.store, verb, fail)
        assert (await client.get(path)).status_code == expected


JUDGES = {
    "username": rules.username_error,
    "email": rules.email_error,
    "password": rules.password_error,
    "displayName": lambda value: rules.optional_text_error("Display name", value, rules.DISPLAY_NAME_MAX),
    "avatar": lambda value: rules.optional_text_error("Avatar", value),
    "bio": lambda value: rules.optional_text_error("Bio", value),
}
TEXTS = [
    "",
    " ",
    "ab",
    "abc",
    "a" * 6,
    "a" * 30,
    "a" * 31,
    "a" * 100,
    "a" * 101,
    "a b",
    "é" * 6,
    "a\0b",
    "a_B9",
    "x\ny",
]
MAILS = ["a@b.c", "a@b", "@b.c", "a@@b.c", "a b@c.d", "a@b.c\0", "a" * 251 + "@b.c", "a" * 252 + "@b.c", "é@ü.de"]


@pytest.mark.parametrize("field", JUDGES)
@pytest.mark.parametrize("value", [*TEXTS, *MAILS, None, 1, True, [], {}], ids=repr)
def test_registration_type_allows_everything_that_the_rules_allow(field, value):
    (schema,), components = schemas.schemas([requests.Registration])
    judge = jsonschema.Draft202012Validator(components["Registration"]["properties"][field])
    assert judge.is_valid(value) == (JUDGES[field](value) is None), schema


def test_component_requires_exactly_what_is_always_sent():
    _, components = schemas.schemas([answers.MessagePage, requests.ProfileChange])
    page = components["MessagePage"]
    assert set(page["properties"]) - set(page["required"]) == {"truncated", "nextOffset"}
    assert page["additionalProperties"] is False
    assert components["ProfileChange"]["required"] == []


def test_answer_fields_are_sent_in_the_order_of_their_type():
    sent = json.loads(encode(answers.RoomStatistics(room="x", data=examples.COUNTS)))
    assert list(sent) == ["success", "room", "data"]
    assert msgspec.json.decode(encode(answers.Problem(message="x"))) == {"success": False, "message": "x"}
    assert set(ALWAYS) == {400, 408, 413, 431, 500, 503}
