"""§9.6 and §9.8: typing and the online status."""

from __future__ import annotations

from typing import Any

from chatsys.lab.conformance.check import check
from chatsys.lab.conformance.probe import CheckProbe
from chatsys.lab.conformance.shapes import EVENTS, conform, same, true


@check("9.6", "**O** get `user-typing`: `{username, displayName, userId, isTyping}`; S never does.")
async def the_others_see_who_types(probe: CheckProbe) -> None:
    watcher, member = await probe.members("Watcher", "Ann")
    await member.client.emit("typing", True)
    shape = EVENTS["user-typing"] | member.who() | {"isTyping": True}
    conform(await watcher.client.want("user-typing"), shape, "user-typing")
    await member.client.emit("typing", False)
    same((await watcher.client.want("user-typing", 2))["isTyping"], False, "isTyping")
    await probe.gets_no("user-typing", member)


@check("9.6", "`isTyping` is always a boolean: another payload is taken by its truthiness or ignored.")
async def is_typing_is_always_a_boolean(probe: CheckProbe) -> None:
    watcher, member = await probe.members("Watcher", "Ann")
    payloads: list[Any] = ["yes", 0, {"isTyping": True}, None, [1], True]
    for payload in payloads:
        await member.client.emit("typing", payload)
    await probe.settle(member, watcher)
    for each in watcher.client.all("user-typing"):
        conform(each, EVENTS["user-typing"], "user-typing")
    true(watcher.client.all("user-typing"), "user-typing did not come")


@check("9.6", "The last value always arrives.")
async def the_last_value_of_typing_arrives(probe: CheckProbe) -> None:
    watcher, member = await probe.members("Watcher", "Ann")
    values = [number % 2 == 0 for number in range(30)] + [True]
    for value in values:
        await member.client.emit("typing", value)
    await probe.settle(member, watcher)
    if [each["isTyping"] for each in watcher.client.all("user-typing")][-1:] != [True]:
        await watcher.client.want("user-typing", len(watcher.client.all("user-typing")) + 1)
    same(watcher.client.all("user-typing")[-1]["isTyping"], True, "the last isTyping")


@check(
    "9.8",
    "**R** get `user-status-update`: `{userId, username, displayName, online, lastSeen}`, and no `room-users` follows.",
)
async def a_status_is_shown_to_everybody(probe: CheckProbe) -> None:
    watcher, member = await probe.members("Watcher", "Ann")
    await watcher.client.list_of(2)
    await probe.settle(watcher, member)
    lists = [len(each.client.all("room-users")) for each in (watcher, member)]
    await member.client.emit("update-online-status", {"online": False})
    shape = EVENTS["user-status-update"] | member.who() | {"online": False}
    for each in (watcher, member):
        conform(await each.client.want("user-status-update"), shape, "user-status-update")
    await probe.settle(watcher, member)
    same([len(each.client.all("room-users")) for each in (watcher, member)], lists, "the number of lists")


@check("9.8", "It sets the user's status and `lastSeen`.")
async def a_status_is_set_in_the_profile(probe: CheckProbe) -> None:
    member = await probe.member()
    for number, (online, status) in enumerate(((False, "offline"), (True, "online")), start=1):
        await member.client.emit("update-online-status", {"online": online})
        await member.client.want("user-status-update", number)
        same((await probe.profile(member.account))["status"], status, "status")


@check("9.8", "What is not a boolean is ignored.")
async def a_status_that_is_no_boolean_is_ignored(probe: CheckProbe) -> None:
    watcher, member = await probe.members("Watcher", "Ann")
    for payload in ({"online": "no"}, {"online": 0}, {}, "offline", {"online": None}):
        await member.client.emit("update-online-status", payload)
    await probe.gets_no("user-status-update", member, watcher)
