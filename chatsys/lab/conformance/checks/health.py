"""§11: health and root."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from chatsys.lab.conformance.check import check
from chatsys.lab.conformance.probe import CheckProbe
from chatsys.lab.conformance.shapes import SOME_TEXT, TEXT, TIMESTAMP, WHOLE, conform, same, true

ENDPOINT = re.compile(r"(GET|POST|PUT|DELETE) /api(/:?[A-Za-z]+)+")


@check("11.1", "It answers 200 with `message` `Server is healthy` and the current time as `timestamp`.")
async def health_shows_the_time(probe: CheckProbe) -> None:
    shape = {"message": "Server is healthy", "timestamp": TIMESTAMP}
    body = (await probe.http.get("/api/health")).succeeds(shape)
    shown = datetime.fromisoformat(body["timestamp"])
    apart = abs((datetime.now(UTC) - shown).total_seconds())
    true(apart < 300, f"the server's clock is {apart:.0f} s away from this machine's")


@check("11.1", "It answers 200 with `message` `Server is healthy` and the current time as `timestamp`.")
async def the_time_of_health_advances(probe: CheckProbe) -> None:
    first = (await probe.http.get("/api/health")).body["timestamp"]
    for _ in range(50):
        if (await probe.http.get("/api/health")).body["timestamp"] > first:
            return
    true(False, "the timestamp stays the same")


@check(
    "11.2", "It answers 200 with strings `message`, `version` and `documentation`; a browser MAY get a page instead."
)
async def the_root_describes_the_server(probe: CheckProbe) -> None:
    shape = {
        "success": True,
        "message": SOME_TEXT,
        "version": TEXT,
        "documentation": TEXT,
        "stats": {"activeUsers": WHOLE, "totalRooms": WHOLE},
        "endpoints": {"auth": [TEXT], "users": [TEXT], "rooms": [TEXT], "health": "GET /api/health"},
    }
    answer = (await probe.http.get("/", headers={"Accept": "application/json"})).is_status(200)
    conform(answer.body, shape)


@check(
    "11.2",
    "`stats` has `activeUsers`, the number of sessions, and `totalRooms`, the number of rooms with a session.",
    alone=True,
)
async def the_root_counts_sessions_and_rooms(probe: CheckProbe) -> None:
    before = (await probe.read("/"))["stats"]
    await probe.members("Ann", "Bob")
    after = (await probe.read("/"))["stats"]
    same(after["activeUsers"] - before["activeUsers"], 2, "the increase of activeUsers after two joins")
    same(after["totalRooms"] - before["totalRooms"], 1, "the increase of totalRooms after joins of one new room")


@check(
    "11.2",
    "`endpoints` has `auth` (4 strings), `users` (5), `rooms` (4) and `health`, each `METHOD /path` "
    "with `:param` placeholders.",
)
async def the_root_lists_the_endpoints(probe: CheckProbe) -> None:
    endpoints = (await probe.read("/"))["endpoints"]
    for part, count in (("auth", 4), ("users", 5), ("rooms", 4)):
        same(len(endpoints[part]), count, f"the number of endpoints of {part}")
    lines = [*endpoints["auth"], *endpoints["users"], *endpoints["rooms"], endpoints["health"]]
    same([line for line in lines if not ENDPOINT.fullmatch(line)], [], "the lines that are not METHOD /path")
