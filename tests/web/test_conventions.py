"""Rules for every request and answer (contract §1)."""

from __future__ import annotations

import re

import pytest

from chatsys import errors
from chatsys.web import make_app
from chatsys.web.responses import STATUS, status_of
from tests.web.asking import ask
from tests.web.conftest import bearer, client_of, without_store

ROUTES = [
    ("GET", "/"),
    ("GET", "/api/health"),
    ("GET", "/api/ready"),
    ("GET", "/api/auth/verify"),
    ("POST", "/api/auth/register"),
    ("POST", "/api/auth/login"),
    ("POST", "/api/auth/logout"),
    ("GET", "/api/users"),
    ("GET", "/api/users/search/x"),
    ("GET", "/api/users/x"),
    ("PUT", "/api/users/x"),
    ("DELETE", "/api/users/x"),
    ("GET", "/api/rooms"),
    ("GET", "/api/rooms/x/users"),
    ("GET", "/api/rooms/x/messages"),
    ("GET", "/api/rooms/x/stats"),
]
FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_answer_is_a_json_object_with_a_boolean_success(client, method, path):
    answer = await client.request(method, path)
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    assert type(body["success"]) is bool
    assert body["success"] is (answer.status_code < 400)
    if not body["success"]:
        assert isinstance(body["message"], str)
        assert set(body) <= {"success", "message", "errors"}


@without_store
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/nope?x=1"),
        ("GET", "/redoc"),
        ("POST", "/openapi.json"),
        ("GET", "/api"),
        ("GET", "/nope/a%2Fb%20c?q=%C3%A9&r=1"),
        ("POST", "/api/health"),
        ("PATCH", "/api/users/x"),
        ("GET", "/api/auth/login"),
        ("DELETE", "/api/rooms"),
        ("BREW", "/api/rooms"),
        ("GET", "/api/health//"),
        ("GET", "/api/rooms/a/b/stats"),
    ],
)
async def test_unknown_route_or_method_gives_404_with_the_requested_target(chat, method, target):
    status, _, body = await ask(make_app(chat), method, target.encode())
    assert (status, body) == (404, {"success": False, "message": f"Route {target} not found"})


@pytest.mark.parametrize("path", [path for method, path in ROUTES if method == "GET"] + ["/nope"])
async def test_head_is_answered_like_get_without_a_body(client, path):
    got, head = await client.get(path), await client.head(path)
    assert head.status_code == got.status_code
    assert head.content == b""
    unlike = {"content-length"} if path == "/api/health" else set()
    assert {k: v for k, v in head.headers.items() if k not in unlike} == {
        k: v for k, v in got.headers.items() if k not in unlike
    }


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[1] != "/"])
async def test_trailing_slash_makes_no_difference(client, method, path):
    plain, slashed = await client.request(method, path), await client.request(method, path + "/")
    assert slashed.status_code == plain.status_code
    assert slashed.json().keys() == plain.json().keys()


async def test_encoded_slash_stays_inside_its_parameter(client):
    answer = await client.get("/api/rooms/a%2Fb%25%20c/stats")
    assert answer.status_code == 200
    assert answer.json()["room"] == "a/b% c"
    assert (await client.get("/api/users/search/%2F")).json()["query"] == "/"
    assert (await client.get("/api/users/search/%252F")).json()["query"] == "%2F"


@without_store
@pytest.mark.parametrize("parameter", [b"%", b"%zz", b"%2", b"%ff", b"%c3%28", b"%ed%a0%80", b"a%00b"])
@pytest.mark.parametrize("path", [b"/api/users/%s", b"/api/users/search/%s", b"/api/rooms/%s/messages"])
async def test_broken_percent_encoding_and_null_characters_give_400(chat, path, parameter):
    status, _, body = await ask(make_app(chat), "GET", path.replace(b"%s", parameter))
    assert (status, body) == (400, {"success": False, "message": "Malformed request"})


@without_store
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("body", ["null", "1", '"x"', "true", "{", "{'a': 1}", '{"a": NaN}', "\ufeff", "[" * 50_000])
async def test_body_that_is_no_json_object_or_array_gives_400(client, method, body):
    path = "/api/auth/register" if method == "POST" else "/api/users/x"
    answer = await client.request(method, path, content=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.json() == {"success": False, "message": "Malformed request"}


@without_store
@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"", {}),
        (b"", JSON),
        (b'["username"]', JSON),
        (b'{"username":"bob"}', {"content-type": "text/plain"}),
        (b'{"username":"bob"}', {}),
        (b"<x/>", {"content-type": "application/xml; charset=utf-8"}),
    ],
)
async def test_body_without_fields_fails_validation(client, content, headers):
    answer = await client.post("/api/auth/register", content=content, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["errors"] == ["Username is required", "Email is required", "Password is required"]


async def test_form_means_the_same_as_json(client):
    body = "username=bob_1&email=B%2Bx%40example.org&password=a+b%26c%C3%A9&displayName=&ignored=1"
    answer = await client.post("/api/auth/register", content=body, headers=FORM)
    assert answer.status_code == 201
    assert answer.json()["user"]["email"] == "b+x@example.org"
    login = await client.post("/api/auth/login", json={"username": "bob_1", "password": "a b&cé"})
    assert login.status_code == 200


@without_store
@pytest.mark.parametrize("body", [b"username=\xff", b"&".join([b"a=1"] * 2000)])
async def test_unreadable_form_gives_400(client, body):
    answer = await client.post("/api/auth/login", content=body, headers=FORM)
    assert answer.status_code == 400


async def test_repeated_form_field_is_not_a_string(client):
    answer = await client.post("/api/auth/register", content=b"username=bob&username=eve", headers=FORM)
    assert "Username must be a string" in answer.json()["errors"]


async def test_last_of_two_equal_keys_counts_and_unknown_fields_are_ignored(client):
    body = '{"username":"a","username":"carol","email":"c@example.org","password":"secret","role":"admin","userId":"x"}'
    answer = await client.post("/api/auth/register", content=body, headers=JSON)
    assert answer.status_code == 201
    assert answer.json()["user"]["username"] == "carol"


async def test_json_content_type_may_have_a_charset_and_any_letter_case(client):
    headers = {"content-type": "Application/JSON; charset=UTF-8"}
    answer = await client.post("/api/auth/login", content=b'{"username":"x"}', headers=headers)
    assert answer.json()["errors"] == ["Password is required"]


@without_store
@pytest.mark.parametrize("field", ["username", "email", "password", "displayName", "avatar", "bio"])
async def test_null_character_in_a_field_fails_validation(client, field):
    sent = {"username": "dave", "email": "d@example.org", "password": "secret", field: "dave\0dave@x.org"}
    answer = await client.post("/api/auth/register", json=sent)
    assert answer.status_code == 400
    assert answer.json()["message"] == "Validation failed"
    assert len(answer.json()["errors"]) == 1


@pytest.mark.parametrize("field", ["username", "email", "password", "displayName", "avatar", "bio"])
async def test_lone_surrogate_is_refused_or_replaced(client, field):
    fields = {"username": "erin", "email": "e@example.org", "password": "secret"}
    fields[field] = "erin\\ud800@x.org"
    body = "{" + ",".join(f'"{name}":"{value}"' for name, value in fields.items()) + "}"
    answer = await client.post("/api/auth/register", content=body, headers=JSON)
    assert answer.status_code in {201, 400}
    answer.text.encode()


@without_store
async def test_body_over_100_kib_gives_413(chat):
    app = make_app(chat)
    for headers, chunks in [
        ({**JSON, "content-length": "102401"}, ()),
        (JSON, (b'{"username":"', b"x" * 51_200, b"x" * 51_200, b'"}')),
        ({**FORM, "content-length": "999999999999"}, ()),
    ]:
        status, _, body = await ask(app, "POST", b"/api/auth/register", headers, chunks)
        assert (status, body) == (413, {"success": False, "message": "request entity too large"})


async def test_body_of_exactly_100_kib_is_accepted(chat):
    body = b'{"username":"' + b"x" * (102_400 - 15) + b'"}'
    assert len(body) == 102_400
    status, _, answer = await ask(make_app(chat), "POST", b"/api/auth/register", JSON, (body,))
    assert status == 400
    assert "Username must not exceed 30 characters" in answer["errors"]


@pytest.mark.parametrize("path", ["/", "/nope", "/api/users/x", "/api/auth/verify", "/api/users/%00"])
async def test_every_response_may_be_read_by_any_origin(client, path):
    answer = await client.get(path, headers={"origin": "https://page.example"})
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_configured_origin_is_the_only_one_that_may_read(chat):
    async with client_of(chat, cors_origin="https://page.example") as client:
        for path in ("/", "/nope"):
            answer = await client.get(path, headers={"origin": "https://other.example"})
            assert answer.headers["access-control-allow-origin"] == "https://page.example"
            assert answer.headers["vary"] == "Origin"


@without_store
@pytest.mark.parametrize("path", ["/api/users/x", "/api/auth/login", "/nope"])
async def test_preflight_allows_the_methods_and_the_requested_headers(client, path):
    wanted = "content-type,authorization,x-access-token"
    answer = await client.options(
        path,
        headers={
            "origin": "https://page.example",
            "access-control-request-method": "PUT",
            "access-control-request-headers": wanted,
        },
    )
    assert answer.status_code == 204
    assert answer.content == b""
    assert answer.headers["access-control-allow-origin"] == "*"
    allowed = set(answer.headers["access-control-allow-methods"].split(","))
    assert allowed >= {"GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"}
    assert answer.headers["access-control-allow-headers"] == wanted


async def test_server_fault_gives_500_without_internals(chat, client, monkeypatch, caplog):
    async def broken(*_):
        raise RuntimeError("SELECT secret FROM users")

    monkeypatch.setattr(chat.store, "list_users", broken)
    answer = await client.get("/api/users", headers={"origin": "https://page.example"})
    assert answer.status_code == 500
    assert answer.json() == {"success": False, "message": "Internal server error"}
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "SELECT secret FROM users" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        errors.StoreUnavailable("10.0.0.1 is unavailable"),
        errors.ConnectionRefused("10.0.0.1 is unavailable"),
        errors.WriteQueueFull(),
        errors.DiskFull("10.0.0.1 is full"),
    ],
)
async def test_unavailable_store_gives_503_with_retry_after(chat, client, monkeypatch, error):
    async def unavailable(*_):
        raise error

    for verb in ("list_users", "find_login"):
        monkeypatch.setattr(chat.store, verb, unavailable)
    for answer in (
        await client.get("/api/users"),
        await client.post("/api/auth/login", json={"username": "x", "password": "y"}),
    ):
        assert answer.status_code == 503
        assert answer.json() == {"success": False, "message": "Service temporarily unavailable"}
        assert int(answer.headers["retry-after"]) > 0


def test_every_error_a_client_can_cause_has_a_status():
    def below(kind):
        return [kind, *(found for child in kind.__subclasses__() for found in below(child))]

    root = errors.ChatsysError
    server_side = (errors.JoinRefused, errors.NoSession, errors.SettingsError, errors.OperatorError)
    for kind in {kind for kind in below(root) if kind.__module__ == root.__module__} - {root}:
        assert any(issubclass(kind, known) for known in (*STATUS, *server_side)), kind
    assert status_of(errors.UserExists()) == 400
    assert status_of(errors.OperatorError()) == 500


async def test_requests_are_not_limited(client):
    answers = [await client.get("/api/health") for _ in range(300)]
    assert {answer.status_code for answer in answers} == {200}


async def test_identifiers_and_timestamps_have_the_documented_format(client, account):
    owner = await account("frank")
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", owner["userId"])
    user = (await client.get(f"/api/users/{owner['userId']}")).json()["user"]
    for moment in (user["createdAt"], (await client.get("/api/health")).json()["timestamp"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", moment)
    verify = await client.get("/api/auth/verify", headers=bearer(owner["token"]))
    assert verify.json()["user"]["userId"] == owner["userId"]
