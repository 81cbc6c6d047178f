"""§5: the list of users, the search, profiles, and changing or deleting one's own account."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from chatsys.lab.conformance.check import check
from chatsys.lab.conformance.checks.conventions import NOBODY
from chatsys.lab.conformance.probe import CheckAccount, CheckProbe
from chatsys.lab.conformance.shapes import PROFILE, TEXT, WHOLE, same, true

UNKNOWN = "User not found"
_LIST = (
    "It answers 200 with public profiles as `users` and their number as `total`: at most 100, the newest account first."
)
DENIED = "Access denied. You can only modify your own profile."


@check("5.1", _LIST)
async def the_list_has_at_most_100_users(probe: CheckProbe) -> None:
    await probe.account()
    body = (await probe.http.get("/api/users")).succeeds({"users": [PROFILE], "total": WHOLE})
    same(body["total"], len(body["users"]), "total")
    true(0 < body["total"] <= 100, f"the list has {body['total']} users")


@check("5.1", _LIST)
async def the_newest_user_is_first(probe: CheckProbe) -> None:
    older, newer = await probe.account(), await probe.account()
    ids = [user["userId"] for user in (await probe.read("/api/users"))["users"]]
    true(newer.user_id in ids and older.user_id in ids, "the newest accounts are not in the list")
    true(ids.index(newer.user_id) < ids.index(older.user_id), "the older account comes before the newer one")


async def _found(probe: CheckProbe, query: str) -> list[dict[str, Any]]:
    """The results of a search. Raises CheckFailed if the answer does not have its shape."""
    shape = {"query": query, "results": [PROFILE], "count": WHOLE}
    body = (await probe.http.get(f"/api/users/search/{quote(query, safe='')}")).succeeds(shape)
    same(body["count"], len(body["results"]), "count")
    return list(body["results"])


@check("5.2", "It answers 200 with the decoded `query`, public profiles as `results` and their number as `count`.")
async def users_are_found_by_username(probe: CheckProbe) -> None:
    account = await probe.account()
    found = await _found(probe, account.username)
    true(account.user_id in [user["userId"] for user in found], "the account is not found by its username")


@check("5.2", "It finds accounts whose username or display name contains the query, in any letter case.")
async def users_are_found_by_a_part_in_any_case(probe: CheckProbe) -> None:
    account = await probe.account(displayName=f"Ann {probe.name()} Lee")
    for query in (account.username[1:].upper(), account.user["displayName"][2:-2], account.user["displayName"].lower()):
        found = [user["userId"] for user in await _found(probe, query)]
        true(account.user_id in found, f"the account is not found by {query!r}")


@check("5.2", r"The query is literal: `%`, `_`, `\` and `'` have no special meaning.")
async def the_query_is_literal(probe: CheckProbe) -> None:
    account = await probe.account()
    marked = await probe.account(displayName=f"50%_\\'{account.username}")
    found = await _found(probe, f"50%_\\'{account.username}")
    same([user["userId"] for user in found], [marked.user_id], "who is found")
    same(await _found(probe, f"%{account.username[2:]}"), [], "what a % finds")
    same(await _found(probe, account.username.replace("_", "%")), [], "what a % between finds")
    same(await _found(probe, account.username[:4] + "_" * (len(account.username) - 4)), [], "what _ finds")


@check("5.2", "There are at most 50 results, by username.", within=120)
async def a_search_finds_at_most_50_by_username(probe: CheckProbe) -> None:
    common = probe.name()
    slots = asyncio.Semaphore(4)

    async def one(number: int) -> CheckAccount:
        async with slots:
            return await probe.account(username=f"{probe.name()}_{number % 7}", displayName=f"many {common} many")

    await asyncio.gather(*(one(number) for number in range(51)))
    names = [user["username"] for user in await _found(probe, common)]
    same(len(names), 50, "the number of results")
    same(names, sorted(names), "the order of the usernames")


@check("5.2", "No match is an empty list.")
async def no_match_is_an_empty_list(probe: CheckProbe) -> None:
    same(await _found(probe, f"nobody {probe.name()}"), [], "results")


@check("5.3", "It answers 200 with the public profile as `user`.")
async def a_profile_is_shown(probe: CheckProbe) -> None:
    account = await probe.account()
    shape = {"user": PROFILE | {"userId": account.user_id, "username": account.username}}
    (await probe.http.get(f"/api/users/{account.user_id}")).succeeds(shape)


@check("5.3", "An unknown id is answered with 404 `User not found`.")
async def an_unknown_user_is_404(probe: CheckProbe) -> None:
    (await probe.http.get(f"/api/users/{NOBODY}")).fails(404, UNKNOWN)


@check("5.3", "So is an id that is no UUID, and the bare path `/api/users/search`.", after="an_unknown_user_is_404")
async def an_id_that_is_no_uuid_is_404(probe: CheckProbe) -> None:
    for text in ("5", "ann", NOBODY[:-1], "%20", "a'b"):
        (await probe.http.get(f"/api/users/{text}")).fails(404, UNKNOWN)


@check("5.3", "So is an id that is no UUID, and the bare path `/api/users/search`.", after="an_unknown_user_is_404")
async def the_bare_search_path_is_404(probe: CheckProbe) -> None:
    (await probe.http.get("/api/users/search")).fails(404, UNKNOWN)


@check(
    "5.4",
    "Success is 200 with `message` `Profile updated successfully` and, as `user`, the public profile after the change.",
)
async def a_change_shows_the_new_profile(probe: CheckProbe) -> None:
    account = await probe.account()
    user = PROFILE | {"userId": account.user_id, "displayName": "Ann Lee", "bio": "new"}
    answer = await probe.change(account, {"displayName": "Ann Lee", "bio": "new"})
    answer.succeeds({"message": "Profile updated successfully", "user": user})


@check("5.4", "A `GET` that follows sees the change.")
async def a_change_is_seen_at_once(probe: CheckProbe) -> None:
    account = await probe.account()
    for number in range(3):
        (await probe.change(account, {"bio": f"change {number}"})).is_status(200)
        same((await probe.profile(account))["bio"], f"change {number}", "bio")


@check("5.4", "The order of checks is: token (401), owner (403), account (404), fields (400).")
async def a_change_needs_a_token(probe: CheckProbe) -> None:
    account = await probe.account()
    path = f"/api/users/{account.user_id}"
    (await probe.http.request("PUT", path, {"bio": 5})).fails(401, "No token provided")
    (await probe.http.request("PUT", path, {"bio": 5}, token="x")).fails(401, "Invalid or expired token")  # noqa: S106


@check(
    "5.4",
    "Another user's id, whether it exists or not, is answered with 403 `Access denied. You can only "
    "modify your own profile.`",
)
async def another_account_is_403(probe: CheckProbe) -> None:
    account, other = await probe.account(), await probe.account()
    for user_id in (other.user_id, NOBODY, "nobody"):
        for method in ("PUT", "DELETE"):
            answer = await probe.http.request(method, f"/api/users/{user_id}", {"bio": "x"}, token=account.token)
            answer.fails(403, DENIED)


@check("5.4", "An account that is gone is answered with 404 `User not found`.")
async def a_change_of_a_deleted_account_is_404(probe: CheckProbe) -> None:
    account = await probe.deleted_account()
    (await probe.change(account, {"bio": "x"})).fails(404, UNKNOWN)


@check("5.4", "only what is sent changes.")
async def only_what_is_sent_changes(probe: CheckProbe) -> None:
    account = await probe.account(displayName="Ann", bio="before")
    (await probe.change(account, {"displayName": "Bea"})).is_status(200)
    await _has_profile(probe, account, displayName="Bea")


async def _has_profile(probe: CheckProbe, account: CheckAccount, **changed: Any) -> None:
    """Require the profile that the registration has shown, apart from what was ``changed`` since."""
    public = {key: value for key, value in account.user.items() if key in PROFILE}
    same(await probe.profile(account), public | changed, "the profile")


@check("5.4", "An empty object changes nothing and succeeds.")
async def an_empty_change_succeeds(probe: CheckProbe) -> None:
    account = await probe.account(bio="before")
    (await probe.change(account, {})).is_status(200)
    await _has_profile(probe, account)


@check("5.4", "`username`, `email`, `password`, `status` and `userId` cannot be changed here and are ignored.")
async def fixed_fields_are_ignored(probe: CheckProbe) -> None:
    account = await probe.account()
    fields = {"username": "x", "email": "x", "password": "x", "status": "online", "userId": NOBODY}
    (await probe.change(account, fields)).is_status(200)
    await _has_profile(probe, account)
    (await probe.login(account.email, account.password)).is_status(200)


_CHECKED = "a violation is answered with 400 `Validation failed`."


@check("5.4", _CHECKED, after="a_change_shows_the_new_profile")
async def a_long_display_name_is_refused_in_a_change(probe: CheckProbe) -> None:
    account = await probe.account()
    answer = await probe.change(account, {"displayName": "d" * 101})
    answer.fails(400, "Validation failed", "Display name must not exceed 100 characters")


@check("5.4", _CHECKED, after="a_change_shows_the_new_profile")
async def other_types_are_refused_in_a_change(probe: CheckProbe) -> None:
    account = await probe.account()
    for field in ("displayName", "avatar", "bio"):
        for value in (5, ["x"], {"a": 1}, False):
            (await probe.change(account, {field: value})).fails(400, "Validation failed")


@check("5.4", "A field that is null counts as not sent.", after="a_change_shows_the_new_profile")
async def null_counts_as_not_sent(probe: CheckProbe) -> None:
    account = await probe.account(displayName="Ann", bio="before")
    (await probe.change(account, {"displayName": None, "avatar": None, "bio": None})).is_status(200)
    await _has_profile(probe, account)


@check("5.4", "`displayName`, `avatar`, `bio`, and `currentPassword` with `newPassword` may be sent")
async def a_password_is_changed(probe: CheckProbe) -> None:
    account = await probe.account()
    fields = {"currentPassword": account.password, "newPassword": "another one"}
    (await probe.change(account, fields)).is_status(200)
    (await probe.login(account.username, "another one")).is_status(200)
    (await probe.login(account.username, account.password)).is_status(401)


@check("5.4", "The password changes only if both password fields are sent.")
async def one_password_field_changes_nothing(probe: CheckProbe) -> None:
    account = await probe.account()
    (await probe.change(account, {"newPassword": "another one"})).is_status(200)
    (await probe.change(account, {"currentPassword": "not mine"})).is_status(200)
    (await probe.login(account.username, account.password)).is_status(200)


@check("5.4", "A wrong `currentPassword` is answered with 401 `Current password is incorrect`, and nothing changes.")
async def a_wrong_current_password_changes_nothing(probe: CheckProbe) -> None:
    account = await probe.account(bio="before")
    fields = {"currentPassword": "not mine", "newPassword": "another one", "bio": "after"}
    (await probe.change(account, fields)).fails(401, "Current password is incorrect")
    await _has_profile(probe, account)
    (await probe.login(account.username, account.password)).is_status(200)


@check("5.4", "A `newPassword` outside 6 to 100 characters is answered with 400 `Validation failed`.")
async def a_new_password_has_6_to_100_characters(probe: CheckProbe) -> None:
    account = await probe.account()
    for password in ("12345", "p" * 101):
        fields = {"currentPassword": account.password, "newPassword": password}
        (await probe.change(account, fields)).fails(400, "Validation failed")


@check(
    "5.5", "It needs the account's own token, as in §5.4, and answers 200 with `message` `User deleted successfully`."
)
async def an_account_is_deleted(probe: CheckProbe) -> None:
    account = await probe.account()
    (await probe.http.request("DELETE", f"/api/users/{account.user_id}")).fails(401, "No token provided")
    (await probe.delete(account)).succeeds({"message": "User deleted successfully"})


@check("5.5", "A second time it answers 404 `User not found`.")
async def a_second_deletion_is_404(probe: CheckProbe) -> None:
    account = await probe.deleted_account()
    (await probe.delete(account)).fails(404, UNKNOWN)


@check("5.5", "Afterwards the profile is unknown, the account cannot log in and cannot be found.")
async def a_deleted_account_is_unknown(probe: CheckProbe) -> None:
    account = await probe.deleted_account()
    (await probe.http.get(f"/api/users/{account.user_id}")).fails(404, UNKNOWN)
    (await probe.login(account.username)).fails(401, "Invalid credentials")
    same(await _found(probe, account.username), [], "what the search finds")


@check("5.5", "Its name and email are free again.")
async def a_deleted_name_is_free_again(probe: CheckProbe) -> None:
    account = await probe.deleted_account()
    await asyncio.sleep(0.2)
    again = await probe.account(username=account.username, email=account.email)
    true(again.user_id != account.user_id, "the new account has the id of the deleted one")


@check("5.5", "The account's messages are gone from all rooms.")
async def a_deleted_user_s_messages_are_gone(probe: CheckProbe) -> None:
    watcher, member = await probe.members("Watcher", "Ann")
    await watcher.says("stays")
    await member.says("goes")
    (await probe.delete(member.account)).is_status(200)
    await probe.settle(watcher)
    same(await probe.texts(watcher.room), ["stays"], "the room's messages")


@check("5.5", "Its sessions end, and later events on their sockets are ignored.")
async def a_deleted_user_s_sessions_end(probe: CheckProbe) -> None:
    watcher, member = await probe.members("Watcher", "Ann")
    await watcher.client.list_of(2)
    (await probe.delete(member.account)).is_status(200)
    await watcher.client.list_of(1)
    if member.client.sio.connected:
        await member.client.emit("send-message", {"message": "from nobody"})
    await probe.settle(watcher)
    same(watcher.client.texts(), [], "the messages that arrived")


@check("5.5", "Its tokens still pass `verify` (§2.5).")
async def a_deleted_account_s_token_still_verifies(probe: CheckProbe) -> None:
    account = await probe.deleted_account()
    user = {"userId": account.user_id, "username": TEXT, "email": TEXT, "iat": WHOLE, "exp": WHOLE}
    answer = await probe.http.get("/api/auth/verify", token=account.token)
    answer.succeeds({"message": "Token is valid", "user": user})
