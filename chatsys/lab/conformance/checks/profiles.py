"""§3: public and own profile, and the status."""

from __future__ import annotations

from urllib.parse import quote

from chatsys.lab.conformance.check import check
from chatsys.lab.conformance.probe import CheckAccount, CheckProbe
from chatsys.lab.conformance.shapes import PROFILE, TIMESTAMP, conform, same, true


def default_avatar(name: str) -> str:
    """The avatar of a user who has not set one."""
    return f"https://ui-avatars.com/api/?name={quote(name)}&background=667eea&color=fff"


@check("3.1", "A public profile has exactly these keys:")
async def a_public_profile_has_eight_keys(probe: CheckProbe) -> None:
    account = await probe.account()
    conform(await probe.profile(account), PROFILE, "user")


@check("3.1", "| `displayName` | string | default: the username |", "| `bio` | string | default: empty |")
async def a_profile_has_defaults(probe: CheckProbe) -> None:
    account = await probe.account()
    defaults = {"displayName": account.username, "avatar": default_avatar(account.username), "bio": ""}
    for key, value in ({"username": account.username, "status": "offline"} | defaults).items():
        same(account.user[key], value, key)


@check("3.1", "| `lastSeen` | timestamp or null | null until the user first joins a room |")
async def last_seen_is_null_before_the_first_join(probe: CheckProbe) -> None:
    account = await probe.account()
    same((await probe.profile(account)).get("lastSeen", "absent"), None, "lastSeen")
    await probe.member(account=account)
    conform((await probe.profile(account))["lastSeen"], TIMESTAMP, "lastSeen")


@check("3.1", "| `displayName` | string | default: the username |")
async def a_profile_keeps_what_was_given(probe: CheckProbe) -> None:
    given = {"displayName": "Ann Ümläut \U0001f389", "avatar": "https://example.org/a.png", "bio": "likes\nlines"}
    account = await probe.account(**given)
    for key, value in given.items():
        same(account.user[key], value, key)


@check("3.1", "It never contains the email, a password or its hash, or the last login.")
async def public_profiles_hide_the_email(probe: CheckProbe) -> None:
    account = await probe.account()
    await probe.login(account.username)
    for path in (f"/api/users/{account.user_id}", f"/api/users/search/{account.username}"):
        answer = (await probe.http.get(path)).is_status(200)
        true(account.username in answer.text, f"GET {path} does not show the account")
        for secret in (account.email, "lastLogin", "password", "$2"):
            true(secret not in answer.text, f"GET {path} shows {secret}")


@check("3.2", "The own profile is the public profile and `email`. Registration and login answer with it.")
async def a_registration_shows_the_own_profile(probe: CheckProbe) -> None:
    account = await probe.account()
    conform(account.user, PROFILE | {"email": account.email}, "user")


@check("3.2", "After a login it also has `lastLogin`, the time of that login.")
async def a_login_shows_the_last_login(probe: CheckProbe) -> None:
    account = await probe.account()
    first = (await probe.login(account.username)).is_status(200).body["user"]
    conform(first, PROFILE | {"email": account.email, "lastLogin": TIMESTAMP}, "user")
    second = (await probe.login(account.username)).is_status(200).body["user"]
    true(second["lastLogin"] > first["lastLogin"], "the second login does not have a later lastLogin")


async def _status(probe: CheckProbe, account: CheckAccount) -> object:
    return (await probe.profile(account))["status"]


@check("3.3", "A user is `online` from the start of the first session to the end of the last one")
async def a_user_is_online_with_a_session(probe: CheckProbe) -> None:
    watcher, member = await probe.members("Watcher", "Ann")
    account = member.account
    same(await _status(probe, account), "online", "status in a room")
    await member.client.emit("leave-room")
    await watcher.client.want("user-left")
    same(await _status(probe, account), "offline", "status after leaving")


@check("3.3", "A user is `online` from the start of the first session to the end of the last one")
async def a_user_stays_online_with_another_session(probe: CheckProbe) -> None:
    account = await probe.account()
    watcher = await probe.member(name="Watcher")
    await probe.member(name="elsewhere", account=account)
    member = await probe.member(watcher.room, account=account)
    await member.client.emit("leave-room")
    await watcher.client.want("user-left")
    await probe.settle(watcher)
    same(await _status(probe, account), "online", "status with one session left")


@check("3.3", "`lastSeen` is set each time the status is.")
async def last_seen_is_set_with_the_status(probe: CheckProbe) -> None:
    member = await probe.member()
    joined = (await probe.profile(member.account))["lastSeen"]
    await member.client.emit("update-online-status", {"online": False})
    await member.client.want("user-status-update")
    true((await probe.profile(member.account))["lastSeen"] > joined, "lastSeen is not later after update-online-status")
