"""§1: bodies, errors, timestamps, ids, unknown routes, path parameters, cross-origin requests, faults."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlencode

from chatsys.lab.conformance.check import check
from chatsys.lab.conformance.http import Answer
from chatsys.lab.conformance.probe import PASSWORD, CheckProbe, room_path
from chatsys.lab.conformance.shapes import BOOLEAN, TIMESTAMP, UUID, NotApplicable, conform, same, true

ORIGIN = "https://chat.example.org"
NOBODY = "00000000-0000-4000-8000-000000000000"
_NULL = "`%00` in a parameter is answered with a status in the 400s or an empty result, never with a 500."
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_INTERNALS = ("SELECT", "syntax", "bigint", "UTF8", "node_modules", "Traceback")
_JSON = {"Content-Type": "application/json"}


@check("1.1", "The HTTP API and Socket.IO share one host and port.")
async def http_and_sockets_share_one_address(probe: CheckProbe) -> None:
    (await probe.http.get("/api/health")).is_status(200)
    client = await probe.client()
    true(client.socket_id, "a Socket.IO client has no id")


def _is_json_with_success(answer: Answer, *, success: bool) -> None:
    kind = answer.headers.get("Content-Type", "")
    true(kind.partition(";")[0].strip() == "application/json", f"{answer.request} has the content type {kind!r}")
    conform(answer.body.get("success"), BOOLEAN, "success")
    same(answer.body["success"], success, "success")


@check("1.2", "Every answer of the API is a JSON object with the content type `application/json`.")
async def answers_are_json_objects(probe: CheckProbe) -> None:
    room = f"/api/rooms/{probe.room()}"
    for path in ("/api/health", "/api/rooms", f"{room}/messages", f"{room}/stats"):
        _is_json_with_success(await probe.http.get(path), success=True)
    _is_json_with_success(await probe.http.post("/api/auth/logout", {}), success=True)


@check("1.2", "Every body has a boolean `success`.")
async def errors_are_json_objects(probe: CheckProbe) -> None:
    _is_json_with_success(await probe.http.get(f"/{probe.name()}"), success=False)
    _is_json_with_success(await probe.http.get("/api/auth/verify"), success=False)
    _is_json_with_success(await probe.http.post("/api/auth/login", {}), success=False)


@check("1.3", 'The body of an error is `{"success": false, "message": <string>}`.')
async def error_bodies_have_one_shape(probe: CheckProbe) -> None:
    (await probe.http.get("/api/auth/verify")).fails(401)
    (await probe.http.get(f"/api/{probe.name()}")).fails(404)


@check("1.3", "A validation error adds `errors`, a list of strings that is not empty.")
async def validation_errors_have_a_list(probe: CheckProbe) -> None:
    (await probe.register({})).fails(400, "Validation failed")


@check("1.4", "A timestamp is a string in UTC with exactly three fractional digits and a `Z`")
async def timestamps_have_three_digits(probe: CheckProbe) -> None:
    conform((await probe.http.get("/api/health")).body["timestamp"], TIMESTAMP, "timestamp")
    account = await probe.account()
    conform(account.user["createdAt"], TIMESTAMP, "createdAt")
    member = await probe.member(account=account)
    conform((await member.says("now"))["timestamp"], TIMESTAMP, "the message's timestamp")


@check("1.5", "Identifiers of users, messages and sessions are canonical UUIDs in lower case.")
async def ids_are_uuids_in_lower_case(probe: CheckProbe) -> None:
    member = await probe.member()
    conform(member.user_id, UUID, "userId")
    conform((await member.says("a"))["id"], UUID, "the message's id")
    conform((await member.client.list_of(1))[0]["sessionId"], UUID, "sessionId")


@check("1.6", "`application/x-www-form-urlencoded` is accepted as well and means the same.")
async def forms_are_accepted(probe: CheckProbe) -> None:
    content = urlencode(probe.fields(bio="a form & more")).encode()
    answer = (await probe.http.post("/api/auth/register", content=content, headers=_FORM)).is_status(201)
    same(answer.body["user"]["bio"], "a form & more", "bio")


@check("1.6", "A missing body, or one of another content type, counts as an object without fields")
async def a_missing_body_has_no_fields(probe: CheckProbe) -> None:
    (await probe.http.post("/api/auth/login")).fails(400, "Validation failed")


@check("1.6", "A missing body, or one of another content type, counts as an object without fields")
async def another_content_type_has_no_fields(probe: CheckProbe) -> None:
    content, headers = json.dumps(probe.fields()).encode(), {"Content-Type": "text/plain"}
    answer = await probe.http.post("/api/auth/register", content=content, headers=headers)
    answer.fails(400, "Validation failed", "Username is required", "Email is required", "Password is required")


@check("1.6", "A JSON array counts as an object without fields.")
async def an_array_has_no_fields(probe: CheckProbe) -> None:
    (await probe.http.post("/api/auth/register", [probe.fields()])).fails(400, "Validation failed")


@check("1.6", "Other JSON that is not an object, and text that is not JSON, is answered with 400 and an error body.")
async def other_json_is_refused(probe: CheckProbe) -> None:
    for value in (None, 5, "text"):
        (await probe.http.post("/api/auth/login", value)).fails(400)


@check("1.6", "Other JSON that is not an object, and text that is not JSON, is answered with 400 and an error body.")
async def what_is_no_json_is_refused(probe: CheckProbe) -> None:
    for content in (b"{", b"{'username': 1}", b'{"username": "a"', b"\xff"):
        (await probe.http.post("/api/auth/login", content=content, headers=_JSON)).fails(400)


@check("1.6", "A body of more than 102,400 bytes is answered with 413 and an error body.")
async def a_large_body_is_refused(probe: CheckProbe) -> None:
    (await probe.http.post("/api/auth/login", {"username": "a", "password": "x" * 102_400})).fails(413)


@check("1.6", "A body of more than 102,400 bytes is answered with 413 and an error body.")
async def a_body_below_the_limit_is_read(probe: CheckProbe) -> None:
    (await probe.http.post("/api/auth/login", {"padding": "x" * 102_000})).fails(400, "Validation failed")


@check("1.6", "Fields that an endpoint does not name are ignored.")
async def unknown_fields_are_ignored(probe: CheckProbe) -> None:
    answer = (await probe.register(probe.fields(role="admin", userId=NOBODY))).is_status(201)
    true("role" not in answer.body["user"], "the answer has the field role")
    true(answer.body["user"]["userId"] != NOBODY, "the server used the userId of the request")


@check("1.6", "A string field that contains U+0000 is answered with 400 `Validation failed`.")
async def a_null_character_is_refused(probe: CheckProbe) -> None:
    (await probe.register(probe.fields(displayName="a\0b"))).fails(400, "Validation failed")


@check("1.6", "A lone surrogate never causes a 500: it is refused with 400, or stored as U+FFFD.")
async def a_lone_surrogate_causes_no_500(probe: CheckProbe) -> None:
    answer = (await probe.register(probe.fields(displayName="a\ud800b"))).is_status(201, 400)
    if answer.status == 201:
        true("\ufffd" in answer.body["user"]["displayName"], "the surrogate is not stored as U+FFFD")


@check("1.7", "An unknown path is answered with 404 and `Route <path and query as requested> not found`.")
async def an_unknown_path_is_404(probe: CheckProbe) -> None:
    for path in ("/nope", "/api/nope?x=1&y=%2F", "/api/auth/nope/"):
        (await probe.http.get(path)).fails(404, f"Route {path} not found")


@check("1.7", "A known path with a method that it does not have is answered in the same way.")
async def another_method_is_404(probe: CheckProbe) -> None:
    for method, path in (("DELETE", "/api/rooms"), ("GET", "/api/auth/login"), ("PATCH", "/api/health")):
        (await probe.http.request(method, path)).fails(404, f"Route {path} not found")


@check("1.8", "`HEAD` works wherever `GET` does: the same status, no body.")
async def head_works_where_get_does(probe: CheckProbe) -> None:
    for path, status in (("/api/health", 200), ("/api/rooms", 200), ("/api/auth/verify", 401), ("/nope", 404)):
        answer = (await probe.http.request("HEAD", path)).is_status(status)
        same(answer.content, b"", "the body")


@check("1.8", "A trailing slash makes no difference, directly or by a redirect.")
async def a_trailing_slash_makes_no_difference(probe: CheckProbe) -> None:
    for path in ("/api/rooms", "/api/health"):
        answer = await probe.http.get(f"{path}/")
        if answer.status in (301, 302, 307, 308):
            location = answer.headers.get("Location", "")
            true(location.endswith(path), f"the redirect leads to {location!r}")
            answer = await probe.http.get(path)
        answer.is_status(200)


@check("1.9", "A path parameter is percent-decoded once and may contain any character; an encoded slash belongs to it.")
async def path_parameters_are_decoded_once(probe: CheckProbe) -> None:
    for text in ("a/b c", "50%25", "ümläut \u2603", "a?b#c&d+e", "'; --"):
        body = await probe.read(room_path(text, "stats"))
        same(body["room"], text, "room")


@check("1.9", "Broken percent-encoding is answered with 400 or taken literally, never with a 500.")
async def broken_percent_encoding_is_no_500(probe: CheckProbe) -> None:
    for path in ("/api/rooms/%/users", "/api/rooms/%zz/stats", "/api/rooms/%c3%28/messages"):
        (await probe.http.get(path)).is_status(200, 400)


@check("1.9", _NULL)
async def an_encoded_null_is_no_500(probe: CheckProbe) -> None:
    for path in ("/api/rooms/a%00b/messages", "/api/rooms/%00/stats"):
        (await probe.http.get(path)).never_500()


@check("1.9", _NULL, after="users_are_found_by_username")
async def an_encoded_null_in_a_search_is_no_500(probe: CheckProbe) -> None:
    (await probe.http.get("/api/users/search/a%00b")).never_500()


def _allows_origin(answer: Answer) -> None:
    allowed = answer.headers.get("Access-Control-Allow-Origin")
    if allowed not in ("*", ORIGIN, None):
        raise NotApplicable(f"the server is set to allow only the origin {allowed}")
    true(allowed, f"{answer.request} has no Access-Control-Allow-Origin")


@check("1.10", "carries `Access-Control-Allow-Origin`: `*` or that origin.")
async def answers_allow_the_origin(probe: CheckProbe) -> None:
    for path in ("/api/health", "/api/rooms", "/nope", "/api/auth/verify"):
        _allows_origin(await probe.http.get(path, headers={"Origin": ORIGIN}))


@check(
    "1.10",
    "A preflight is answered with 200 or 204, allows GET, HEAD, PUT, PATCH, POST and DELETE, and "
    "allows the requested headers.",
)
async def a_preflight_allows_methods_and_headers(probe: CheckProbe) -> None:
    requested = "content-type,authorization,x-access-token"
    preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": requested}
    answer = (await probe.http.request("OPTIONS", f"/api/users/{NOBODY}", headers=preflight)).is_status(200, 204)
    _allows_origin(answer)
    methods = {part.strip() for part in answer.headers.get("Access-Control-Allow-Methods", "").split(",")}
    true({"GET", "HEAD", "PUT", "PATCH", "POST", "DELETE"} <= methods, f"only {', '.join(sorted(methods))} are allowed")
    headers = {part.strip().lower() for part in answer.headers.get("Access-Control-Allow-Headers", "").split(",")}
    true(headers == {"*"} or set(requested.split(",")) <= headers, f"only the headers {sorted(headers)} are allowed")


@check("1.10", "The same rule holds for `/socket.io/`.")
async def socket_io_allows_the_origin(probe: CheckProbe) -> None:
    for query in ("EIO=4&transport=polling", "EIO=4&transport=polling&sid=unknown"):
        _allows_origin(await probe.http.get(f"/socket.io/?{query}", headers={"Origin": ORIGIN}))


@check("1.11", "A fault of the server is answered with 500, the body of §1.3 and no internals: no SQL, no stack.")
async def errors_show_no_internals(probe: CheckProbe) -> None:
    answers = [
        await probe.http.get(f"/api/rooms/{probe.room()}/messages?limit=99999999999999999999"),
        await probe.http.get(f"/api/rooms/{probe.room()}/messages?offset=abc"),
        await probe.register(probe.fields(displayName="a\0b")),
        await probe.login(5, ["x"]),
    ]
    for answer in answers:
        same(set(answer.body) - {"success", "message", "errors"}, set(), f"the other keys of {answer.request}")
        shown = [word for word in _INTERNALS if word in answer.text]
        same(shown, [], f"the internals that {answer.request} shows")


@check("1.11", "No request and no event, however malformed, ends the process or makes it stop answering.")
async def malformed_input_leaves_the_server_answering(probe: CheckProbe) -> None:
    member = await probe.member()
    payloads: list[Any] = [None, [], 5, "text", {"room": []}, {"message": {}}, {"messageId": 5}, [[[[]]]]]
    for payload in payloads:
        for event in ("join", "send-message", "message-read", "mark-all-read", "typing", "update-online-status"):
            await member.client.emit(event, payload)
    for content in (b"\xff\xfe", b"[[[[", b'{"username": {}}', b"null"):
        await probe.http.post("/api/auth/login", content=content, headers=_JSON)
    (await probe.http.get("/api/health")).is_status(200)
    other = await probe.member(name="Bob")
    await other.says("still here")


@check("1.12", "The default configuration limits no rate of requests; the one 429 is that of failed logins (§4.2).")
async def many_requests_are_answered(probe: CheckProbe) -> None:
    answers = await asyncio.gather(*(probe.http.get("/api/health") for _ in range(60)))
    same({answer.status for answer in answers}, {200}, "the statuses of 60 requests at once")
    account = await probe.account()
    logins = [(await probe.login(account.username, PASSWORD)).status for _ in range(4)]
    same(logins, [200] * 4, "the statuses of four logins")
