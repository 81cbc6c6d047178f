"""Profiles: list, search, view, change, delete (contract §5)."""

from __future__ import annotations

import uuid

import pytest

from chatsys.chat import conversation
from tests.web.conftest import bearer

PUBLIC = {"userId", "username", "displayName", "avatar", "bio", "status", "lastSeen", "createdAt"}
NOT_FOUND = (404, {"success": False, "message": "User not found"})
DENIED = (403, {"success": False, "message": "Access denied. You can only modify your own profile."})
NOT_IDS = [
    "x",
    "search",
    "1",
    "NaN",
    "' OR 1=1 --",
    "00000000-0000-0000-0000-00000000000",
    "{}",
    "a%2Fb",
    "%F0%9F%98%80",
]


def outcome(answer):
    return answer.status_code, answer.json()


async def test_user_list_has_public_profiles_newest_first(client, account):
    names = ["first", "second", "third"]
    for name in names:
        await account(name)
    body = (await client.get("/api/users")).json()
    assert set(body) == {"success", "users", "total"}
    assert [user["username"] for user in body["users"]] == names[::-1]
    assert body["total"] == 3
    assert all(set(user) == PUBLIC for user in body["users"])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("ALI", ["alice", "malice"]),
        ("%25", ["percent"]),
        ("_", ["under_score"]),
        ("%5C", ["percent"]),
        ("'", ["percent"]),
        ("100%25%20%5C'", ["percent"]),
        ("zzz", []),
        ("%20", ["percent"]),
        ("%F0%9F%98%80", []),
        ("e%2Fe", []),
    ],
)
async def test_search_is_a_literal_substring_in_any_letter_case(client, account, query, found):
    for name in ("malice", "alice", "under_score", "percent"):
        owner = await account(name)
    await client.put(f"/api/users/{owner['userId']}", headers=bearer(owner["token"]), json={"displayName": "100% \\'"})
    body = (await client.get(f"/api/users/search/{query}")).json()
    assert set(body) == {"success", "query", "results", "count"}
    assert [user["username"] for user in body["results"]] == found
    assert body["count"] == len(found)
    assert all(set(user) == PUBLIC for user in body["results"])


async def test_search_returns_the_decoded_query(client):
    assert (await client.get("/api/users/search/%C3%A9%25%2F%20%2B+")).json()["query"] == "é%/ ++"


async def test_profile_has_exactly_the_eight_public_keys(client, account):
    owner = await account("alice")
    status, body = outcome(await client.get(f"/api/users/{owner['userId']}"))
    assert status == 200
    assert set(body) == {"success", "user"}
    assert set(body["user"]) == PUBLIC


@pytest.mark.parametrize("user_id", [*NOT_IDS, "01a203f5-0266-758d-aedf-6583c164f81c"])
async def test_unknown_or_malformed_id_gives_404(client, user_id):
    assert outcome(await client.get(f"/api/users/{user_id}")) == NOT_FOUND


async def test_profile_change_shows_in_the_answer_and_in_the_next_read(client, account):
    owner = await account("alice")
    path, headers = f"/api/users/{owner['userId']}", bearer(owner["token"])
    changes = {"displayName": "Alice L", "avatar": "https://example.org/a.png", "bio": "hello"}
    body = (await client.put(path, headers=headers, json=changes)).json()
    assert body["message"] == "Profile updated successfully"
    assert set(body["user"]) == PUBLIC
    assert {name: body["user"][name] for name in changes} == changes
    assert (await client.get(path)).json()["user"] == body["user"]


@pytest.mark.parametrize("sent", [{}, [], {"displayName": None, "bio": None}, {"unknown": 1}])
async def test_fields_that_are_not_sent_stay_unchanged(client, account, sent):
    owner = await account("alice")
    path = f"/api/users/{owner['userId']}"
    before = (await client.get(path)).json()["user"]
    status, body = outcome(await client.put(path, headers=bearer(owner["token"]), json=sent))
    assert (status, body["user"]) == (200, before)


async def test_nothing_but_the_profile_can_be_changed(client, account):
    owner = await account("alice")
    path = f"/api/users/{owner['userId']}"
    before = (await client.get(path)).json()["user"]
    sent = {"username": "eve", "email": "eve@x.org", "password": "hacked!", "status": "online", "userId": "x"}
    assert (await client.put(path, headers=bearer(owner["token"]), json=sent)).json()["user"] == before
    login = {"username": "alice@example.org", "password": owner["password"]}
    assert (await client.post("/api/auth/login", json=login)).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        {"displayName": "x" * 101},
        {"displayName": 1},
        {"avatar": []},
        {"bio": {}},
        {"bio": "a\0b"},
        {"currentPassword": 1},
        {"newPassword": 1},
    ],
)
async def test_bad_change_fails_validation_and_changes_nothing(client, account, sent):
    owner = await account("alice")
    path = f"/api/users/{owner['userId']}"
    before = (await client.get(path)).json()["user"]
    answer = await client.put(path, headers=bearer(owner["token"]), json={"bio": "new", "displayName": "new", **sent})
    assert answer.status_code == 400
    assert answer.json()["message"] == "Validation failed"
    assert (await client.get(path)).json()["user"] == before


async def test_checks_of_a_change_come_in_order(client, account):
    alice, bob = await account("alice"), await account("bob")
    bad = {"displayName": 1}
    path = f"/api/users/{bob['userId']}"
    assert (await client.put(path, json=bad)).status_code == 401
    for user_id in (bob["userId"], str(uuid.uuid4()), "x"):
        answer = await client.put(f"/api/users/{user_id}", headers=bearer(alice["token"]), json=bad)
        assert outcome(answer) == DENIED
    await client.delete(path, headers=bearer(bob["token"]))
    assert outcome(await client.put(path, headers=bearer(bob["token"]), json=bad)) == NOT_FOUND


async def logs_in(client, owner, password):
    answer = await client.post("/api/auth/login", json={"username": owner["username"], "password": password})
    return answer.status_code == 200


async def test_password_changes_when_the_current_one_is_right(client, account):
    owner = await account("alice")
    sent = {"currentPassword": owner["password"], "newPassword": "another one"}
    answer = await client.put(f"/api/users/{owner['userId']}", headers=bearer(owner["token"]), json=sent)
    assert answer.status_code == 200
    assert await logs_in(client, owner, "another one")
    assert not await logs_in(client, owner, owner["password"])


@pytest.mark.parametrize(
    ("passwords", "expected"),
    [
        ({"currentPassword": "wrong!", "newPassword": "another one"}, (401, "Current password is incorrect")),
        ({"currentPassword": "", "newPassword": "another one"}, (401, "Current password is incorrect")),
        ({"currentPassword": "secret of alice", "newPassword": "short"}, (400, "Validation failed")),
        ({"currentPassword": "secret of alice", "newPassword": "x" * 101}, (400, "Validation failed")),
    ],
)
async def test_refused_password_change_changes_nothing_at_all(client, account, passwords, expected):
    owner = await account("alice")
    path = f"/api/users/{owner['userId']}"
    answer = await client.put(path, headers=bearer(owner["token"]), json={"bio": "new", **passwords})
    assert (answer.status_code, answer.json()["message"]) == expected
    assert (await client.get(path)).json()["user"]["bio"] == ""
    assert await logs_in(client, owner, owner["password"])


@pytest.mark.parametrize("passwords", [{"currentPassword": "wrong!"}, {"newPassword": "another one"}])
async def test_with_one_password_field_the_password_stays_and_the_rest_changes(client, account, passwords):
    owner = await account("alice")
    answer = await client.put(
        f"/api/users/{owner['userId']}", headers=bearer(owner["token"]), json={"bio": "new", **passwords}
    )
    assert (answer.status_code, answer.json()["user"]["bio"]) == (200, "new")
    assert await logs_in(client, owner, owner["password"])


async def test_only_the_owner_may_delete(client, account):
    alice, bob = await account("alice"), await account("bob")
    assert (await client.delete(f"/api/users/{bob['userId']}")).status_code == 401
    for user_id in (bob["userId"], "x"):
        assert outcome(await client.delete(f"/api/users/{user_id}", headers=bearer(alice["token"]))) == DENIED


async def test_deleted_account_is_gone_everywhere(chat, client, account, enter):
    alice, bob = await account("alice"), await account("bob")
    path, headers = f"/api/users/{alice['userId']}", bearer(alice["token"])
    hers = await enter("attic", socket_id="s1", token=alice["token"])
    his = await enter("attic", socket_id="s2", token=bob["token"])
    await conversation.send(chat, hers, "mine")
    posted = await conversation.send(chat, his, "yours")
    await conversation.read(chat, hers, hers.room, posted.message.message_id)

    assert outcome(await client.delete(path, headers=headers)) == (
        200,
        {"success": True, "message": "User deleted successfully"},
    )
    assert outcome(await client.delete(path, headers=headers)) == NOT_FOUND
    assert outcome(await client.put(path, headers=headers, json={})) == NOT_FOUND
    assert outcome(await client.get(path)) == NOT_FOUND
    assert (await client.get("/api/users")).json()["total"] == 1
    assert (await client.get("/api/users/search/alice")).json()["count"] == 0
    assert not await logs_in(client, alice, alice["password"])
    (message,) = (await client.get("/api/rooms/attic/messages")).json()["data"]
    assert (message["message"], message["readBy"], message["read"]) == ("yours", [], False)
    assert [user["username"] for user in (await client.get("/api/rooms/attic/users")).json()["data"]] == ["bob"]
    assert (await client.get("/api/auth/verify", headers=headers)).status_code == 200
    assert (await account("alice"))["userId"] != alice["userId"]
