"""Faults of a server, each with the check that must report it and the section of the protocol it violates."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .standin import Event, Fault, Memory, Reply

Body = dict[str, Any]


def answers(method: str, path: str, change: Callable[[Reply], None]) -> Fault:
    """Change the answers to requests whose path has this prefix."""

    def http(reply: Reply) -> None:
        if reply.method == method and reply.path.startswith(path):
            change(reply)

    return Fault(http=http)


def body(method: str, path: str, change: Callable[[Body], Body]) -> Fault:
    """Change the bodies of successful answers to requests whose path has this prefix."""

    def http(reply: Reply) -> None:
        if reply.status < 300:
            reply.body = change(reply.body)

    return answers(method, path, http)


def status(method: str, path: str, old: int, new: int) -> Fault:
    """Answer with a wrong status."""

    def http(reply: Reply) -> None:
        if reply.status == old:
            reply.status = new

    return answers(method, path, http)


def message(method: str, path: str, text: str) -> Fault:
    """Answer with another ``message`` in errors."""

    def http(reply: Reply) -> None:
        if reply.status >= 400:
            reply.body = reply.body | {"message": text}

    return answers(method, path, http)


def without_header(name: str) -> Fault:
    """Remove a header from the answers."""

    def http(reply: Reply) -> None:
        reply.headers = {key: value for key, value in reply.headers.items() if key.lower() != name}

    return Fault(http=http)


def events(name: str, change: Callable[[Memory, Any], list[Any]]) -> Fault:
    """Replace the payloads of the events of one name; an empty list drops the events."""

    def event(memory: Memory, found: str, arguments: list[Any]) -> list[Event]:
        if found != name:
            return [(found, arguments)]
        return [(found, [payload]) for payload in change(memory, arguments[0])]

    return Fault(event=event)


def payload(name: str, change: Callable[[Any], Any]) -> Fault:
    """Replace the payload of the events of one name."""
    return events(name, lambda _memory, found: [change(found)])


def dropped(name: str) -> Fault:
    """Drop the events of that name."""
    return events(name, lambda _memory, _found: [])


def doubled(name: str) -> Fault:
    """Send each event of that name twice."""
    return events(name, lambda _memory, found: [found, found])


def after(first: str, second: str) -> Fault:
    """Hold back each event ``first`` until an event ``second`` has come."""

    def event(memory: Memory, found: str, arguments: list[Any]) -> list[Event]:
        if found == first:
            memory.setdefault("held", []).append((found, arguments))
            return []
        held = memory.pop("held", []) if found == second else []
        return [(found, arguments), *held]

    return Fault(event=event)


def _swapped_pairs(memory: Memory, found: Any) -> list[Any]:
    """Reverse each pair of messages whose text has ``burst``."""
    if not found["message"].startswith("burst"):
        return [found]
    earlier = memory.pop("earlier", None)
    if earlier is None:
        memory["earlier"] = found
        return []
    return [found, earlier]


def _two_arguments(_memory: Memory, name: str, arguments: list[Any]) -> list[Event]:
    return [(name, [*arguments, "more"] if name == "user-typing" else arguments)]


def _without(value: Body, *keys: str) -> Body:
    return {key: each for key, each in value.items() if key not in keys}


def _user(change: Callable[[Body], Body]) -> Callable[[Body], Body]:
    return lambda found: found | {"user": change(found["user"])}


def _handshake(reply: Reply) -> None:
    if reply.text.startswith("0{"):
        reply.text = reply.text.replace('"pingTimeout":20000', '"pingTimeout":5000')


def _reversed_errors(reply: Reply) -> None:
    if reply.status == 400 and "errors" in reply.body:
        reply.body = reply.body | {"errors": reply.body["errors"][::-1]}


def _with_stack(reply: Reply) -> None:
    if reply.status >= 400:
        reply.body = reply.body | {"stack": "at line 1"}


def _old_profile(reply: Reply) -> None:
    if reply.status == 200:
        reply.body = reply.body | {"user": {}}


def _wrong_content_type(reply: Reply) -> None:
    reply.headers["Content-Type"] = "text/html"


def _verified(reply: Reply) -> None:
    reply.status, reply.body = 200, {"success": True, "message": "Token is valid", "user": {}}


def _accepted_when_wrong(reply: Reply) -> None:
    if json.loads(reply.sent or b"{}").get("password") == "wrong password":
        reply.status, reply.body = 401, {"success": False, "message": "Invalid credentials"}
    elif reply.status == 429:
        reply.status, reply.body = 200, {"success": True}


USERS, ROOMS = "/api/users", "/api/rooms"
REGISTER, LOGIN, VERIFY = "/api/auth/register", "/api/auth/login", "/api/auth/verify"
SHORT = "2026-01-31T09:05:00Z"

FAULTS: dict[str, tuple[str, str, Fault]] = {
    # wrong status
    "register answers 200": ("4.1", "a_registration_is_201", status("POST", REGISTER, 201, 200)),
    "taken name answers 409": ("4.1", "a_taken_username_is_refused", status("POST", REGISTER, 400, 409)),
    "wrong method answers 405": ("1.7", "another_method_is_404", status("DELETE", ROOMS, 404, 405)),
    "HEAD answers 405": ("1.8", "head_works_where_get_does", status("HEAD", ROOMS, 200, 405)),
    "slash answers 404": ("1.8", "a_trailing_slash_makes_no_difference", status("GET", f"{ROOMS}/", 200, 404)),
    "large body answers 400": ("1.6", "a_large_body_is_refused", status("POST", LOGIN, 413, 400)),
    "garbage verifies": ("2.3", "text_that_is_no_token_is_401", answers("GET", VERIFY, _verified)),
    "unknown user answers 404 at login": ("4.2", "an_unknown_user_is_401", status("POST", LOGIN, 401, 404)),
    "logins are never limited": ("4.2", "too_many_failed_logins_are_429", answers("POST", LOGIN, _accepted_when_wrong)),
    "no match answers 404": ("5.2", "no_match_is_an_empty_list", status("GET", f"{USERS}/search", 200, 404)),
    "unknown profile answers 200": ("5.3", "an_unknown_user_is_404", status("GET", f"{USERS}/0000", 404, 200)),
    "second deletion answers 200": ("5.5", "a_second_deletion_is_404", status("DELETE", USERS, 404, 200)),
    "wrong limit answers 500": ("6.3", "other_limits_are_400", status("GET", ROOMS, 400, 500)),
    "unknown sid answers 200": ("8.1", "an_unknown_sid_is_400", status("GET", "/socket.io/", 400, 200)),
    "ready answers 503": ("14.6", "ready_answers_within_a_second", status("GET", "/api/ready", 200, 503)),
    # fields of answers
    "no success": ("1.2", "answers_are_json_objects", body("GET", ROOMS, lambda found: _without(found, "success"))),
    "another content type": ("1.2", "answers_are_json_objects", answers("GET", ROOMS, _wrong_content_type)),
    "an error has a stack": ("1.3", "error_bodies_have_one_shape", Fault(http=_with_stack)),
    "seconds without fractions": (
        "1.4",
        "timestamps_have_three_digits",
        body("GET", "/api/health", lambda found: found | {"timestamp": SHORT}),
    ),
    "route without its query": (
        "1.7",
        "an_unknown_path_is_404",
        message("GET", "/api/nope", "Route /api/nope not found"),
    ),
    "no CORS header": ("1.10", "answers_allow_the_origin", without_header("access-control-allow-origin")),
    "another text for no token": ("2.3", "a_missing_token_is_401", message("GET", VERIFY, "Unauthorized")),
    "profile without bio": (
        "3.1",
        "a_public_profile_has_eight_keys",
        body("GET", f"{USERS}/", _user(lambda user: _without(user, "bio"))),
    ),
    "profile with email": (
        "3.1",
        "a_public_profile_has_eight_keys",
        body("GET", f"{USERS}/", _user(lambda user: user | {"email": "ann@example.org"})),
    ),
    "login without lastLogin": (
        "3.2",
        "a_login_shows_the_last_login",
        body("POST", LOGIN, _user(lambda user: _without(user, "lastLogin"))),
    ),
    "errors in another order": (
        "4.1",
        "errors_are_in_order_one_for_each_field",
        answers("POST", REGISTER, _reversed_errors),
    ),
    "verify without exp": (
        "4.3",
        "verify_shows_the_claims",
        body("GET", VERIFY, _user(lambda user: _without(user, "exp"))),
    ),
    "total is off by one": (
        "5.1",
        "the_list_has_at_most_100_users",
        body("GET", USERS, lambda found: found | {"total": found["total"] + 1}),
    ),
    "oldest user first": (
        "5.1",
        "the_newest_user_is_first",
        body("GET", USERS, lambda found: found | {"users": found["users"][::-1]}),
    ),
    "update answers no profile": ("5.4", "a_change_shows_the_new_profile", answers("PUT", USERS, _old_profile)),
    "a default room twice": (
        "6.1",
        "the_default_rooms_exist_once",
        body("GET", ROOMS, lambda found: found | {"data": found["data"] * 2}),
    ),
    "no users beside data": (
        "6.2",
        "room_users_are_listed_twice",
        body("GET", ROOMS, lambda found: _without(found, "users")),
    ),
    "newest message first": (
        "6.3",
        "pages_count_from_the_newest",
        body("GET", ROOMS, lambda found: found | {"data": found["data"][::-1]}),
    ),
    "a message counts for each reader": (
        "6.4",
        "a_message_with_two_readers_counts_once",
        body("GET", ROOMS, lambda found: found | {"data": found["data"] | {"totalMessages": 3}}),
    ),
    "stored message without editedAt": (
        "7",
        "a_stored_message_has_its_keys",
        body("GET", ROOMS, lambda found: found | {"data": [_without(each, "editedAt") for each in found["data"]]}),
    ),
    "handshake with another timeout": (
        "8.1",
        "a_polling_handshake_has_its_fields",
        answers("GET", "/socket.io/", _handshake),
    ),
    "health without a time": (
        "11.1",
        "health_shows_the_time",
        body("GET", "/api/health", lambda found: _without(found, "timestamp")),
    ),
    "root without its numbers": (
        "11.2",
        "the_root_describes_the_server",
        body("GET", "/", lambda found: found | {"stats": {}}),
    ),
    # events
    "message without avatar": (
        "7",
        "a_live_message_has_its_keys",
        payload("receive-message", lambda found: _without(found, "avatar")),
    ),
    "message with another field": (
        "7",
        "a_live_message_has_its_keys",
        payload("receive-message", lambda found: found | {"likes": 0}),
    ),
    "message is trimmed": (
        "7",
        "texts_are_kept_exactly",
        payload("receive-message", lambda found: found | {"message": found["message"].strip()}),
    ),
    "another namespace is named": (
        "8.1",
        "another_namespace_is_refused",
        Fault(frame=lambda frame: '44/admin,{"message":"no"}' if frame.startswith("44/admin") else frame),
    ),
    "two messages change places": ("8.2", "a_burst_keeps_its_order", events("receive-message", _swapped_pairs)),
    "history before list": ("9.1", "the_history_follows_the_list", after("room-users", "message-history")),
    "history newest first": (
        "9.1",
        "the_history_has_the_newest_100",
        payload("message-history", lambda found: found[::-1]),
    ),
    "no user-joined": ("9.1", "the_others_get_user_joined", dropped("user-joined")),
    "message comes twice": ("9.2", "everybody_gets_a_message_once", doubled("receive-message")),
    "message does not come": ("9.2", "everybody_gets_a_message_once", dropped("receive-message")),
    "no error for a bad message": ("9.2", "a_message_with_null_is_dropped", dropped("error")),
    "only the last delivery": (
        "9.3",
        "delivered_to_is_complete",
        payload("message-status-update", lambda found: found | {"deliveredTo": [found["deliveredBy"]]}),
    ),
    "a delivery is shown twice as a set": (
        "9.3",
        "a_delivery_is_shown_to_everybody",
        payload("message-status-update", lambda found: found | {"deliveredTo": found["deliveredTo"] * 2}),
    ),
    "read without a name": (
        "9.4",
        "a_read_is_shown_to_everybody",
        payload("message-read-update", lambda found: _without(found, "readByUsername")),
    ),
    "too few are marked": (
        "9.5",
        "all_unread_messages_are_marked",
        payload("messages-marked-read", lambda found: found | {"messageIds": found["messageIds"][1:]}),
    ),
    "isTyping is text": (
        "9.6",
        "the_others_see_who_types",
        payload("user-typing", lambda found: found | {"isTyping": "true"}),
    ),
    "no status on request": ("9.8", "a_status_is_shown_to_everybody", dropped("user-status-update")),
    "list before user-left": ("9.9", "leaving_sends_three_events_in_order", after("user-left", "room-users")),
    "user-left comes twice": ("9.9", "leaving_twice_sends_nothing_more", doubled("user-left")),
    "no status of who left": ("9.9", "the_others_get_the_status_of_who_left", dropped("user-status-update")),
    "two arguments": ("10", "every_event_has_one_argument_as_listed", Fault(event=_two_arguments)),
    "another socket id": (
        "10.1",
        "the_socket_id_is_that_of_the_client",
        payload("room-users", lambda found: [each | {"socketId": "x"} for each in found]),
    ),
    "list before user-joined": ("10.2", "a_list_never_precedes_its_reason", after("user-joined", "room-users")),
    # additions
    "message is not acknowledged": (
        "14.1",
        "a_message_is_acknowledged",
        Fault(ack=lambda found: None if "duplicate" in found else found),
    ),
    "nothing is acknowledged": ("14.1", "a_join_is_acknowledged", Fault(ack=lambda _found: None)),
    "refusal without its code": (
        "14.1",
        "a_refusal_is_acknowledged_with_its_code",
        Fault(ack=lambda found: _without(found, "code")),
    ),
    "join without epoch": ("14.1", "a_join_is_acknowledged", Fault(ack=lambda found: _without(found, "epoch"))),
    "numbers with gaps": (
        "14.2",
        "messages_are_numbered_without_gaps",
        payload("receive-message", lambda found: found | {"seq": 2 * found["seq"]}),
    ),
    "repetition is not marked": (
        "14.3",
        "a_message_sent_again_is_stored_once",
        Fault(ack=lambda found: found | {"duplicate": False} if "duplicate" in found else found),
    ),
    "since is not heeded": (
        "14.4",
        "since_gives_what_was_missed",
        payload("message-history", lambda found: found[1:]),
    ),
}
"""What is broken -> the section, the check that must fail, and the fault."""
