"""How often users do what, relative to one sent message, each number with its source.

Mattermost derived such a mix from the traffic of its own community server, relative to one post:
loadtest/control/simulcontroller/controller.go of https://github.com/mattermost/mattermost-load-test-ng, as of commit
072ff078c9b2a944431feae532218fb129ed8b3b. ``CHOSEN`` marks a number without a source.
"""

from __future__ import annotations

import random
from bisect import bisect
from functools import cache
from itertools import accumulate

import msgspec

MATTERMOST = "mattermost-load-test-ng, simulcontroller"
CHOSEN = "chosen here"


class Activity(msgspec.Struct, frozen=True):
    """Something a user does; ``weight`` is how often per sent message."""

    name: str
    weight: float
    tag: str
    source: str


_ACTIVITIES = (
    Activity("send", 1.0, "send", "the unit"),
    Activity("typing", 2.0, "typing", f"{CHOSEN}: typing on and off around each message"),
    Activity("open_room", 6.5219, "read", f"{MATTERMOST}: SwitchChannel (history of another room, by REST)"),
    Activity("scroll_back", 1.9873, "read", f"{MATTERMOST}: ScrollChannel (an older page of the history)"),
    Activity("list_rooms", 1.0, "read", f"{MATTERMOST}: UnreadCheck (the list of rooms)"),
    Activity("search_users", 0.0320, "read", f"{MATTERMOST}: SearchUsers"),
    Activity("open_profile", 0.03, "read", f"{MATTERMOST}: ClickUserProfile"),
    Activity("room_stats", 0.0218, "read", f"{MATTERMOST}: SearchPosts (the other query over a room's messages)"),
    Activity("change_room", 0.0049, "rooms", f"{MATTERMOST}: JoinChannel (leave, and join another room)"),
    Activity("reconnect", 0.144, "reconnect", f"{MATTERMOST}: ReconnectWebSocket (mobile users only)"),
)
ACTIVITIES = {activity.name: activity for activity in _ACTIVITIES}


class Persona(msgspec.Struct, frozen=True):
    """A kind of user: its ``share`` of all users, and the factors ``sends`` and ``reads`` for the activities' weights.

    :func:`factor` scales them so that the average user sends one message per interval.
    """

    name: str
    share: int
    sends: float
    reads: float
    source: str


_PERSONAS = (
    Persona("talker", 25, 3.0, 1.0, f"{CHOSEN}: few write most (Nielsen's 90-9-1 rule, softened for rooms of 20)"),
    Persona("reader", 25, 0.5, 1.5, CHOSEN),
    Persona("lurker", 30, 0.0, 0.75, f"{CHOSEN}: never writes (https://www.nngroup.com/articles/participation-inequality/)"),
    Persona("mobile", 18, 0.5, 1.0, f"{CHOSEN}: loses its connection and comes back with replay"),
    Persona("newcomer", 2, 0.5, 1.0, f"{CHOSEN}: registers its account over REST when it starts"),
)  # fmt: skip
PERSONAS = {persona.name: persona for persona in _PERSONAS}


def factor(persona: Persona, activity: Activity) -> float:
    """How often this persona does it, relative to the average user."""
    if activity.name == "reconnect":
        return 1.0 if persona.name == "mobile" else 0.0
    scaled = persona.sends if activity.tag in {"send", "typing"} else persona.reads
    people = PERSONAS.values()
    mean = sum(p.share * (p.sends if activity.tag in {"send", "typing"} else p.reads) for p in people)
    return scaled * sum(p.share for p in people) / mean


# -- which room a user is in


@cache
def _seats() -> dict[str, list[int]]:
    """The indexes of each persona among 100 users (the sum of the shares), spread as evenly as possible."""
    even = sorted(((n + 0.5) / p.share, p.name) for p in PERSONAS.values() for n in range(p.share))
    return {name: [seat for seat, (_, owner) in enumerate(even) if owner == name] for name in PERSONAS}


def seat(persona: str, nth: int) -> int:
    """The index of the ``nth`` user (from 0) of a persona among the users of all personas."""
    own = _seats()[persona]
    return nth // len(own) * sum(map(len, _seats().values())) + own[nth % len(own)]


SIZES = ("zipf", "equal", "one")


@cache
def _cumulative(rooms: int) -> tuple[float, ...]:
    return tuple(accumulate(1 / rank for rank in range(1, rooms + 1)))


def room_of(index: int, *, users: int, mean_size: int, sizes: str, seed: int) -> str:
    """The room of user ``index`` (the same in each process).

    ``one`` puts all into one room, ``equal`` fills rooms of ``mean_size``, and ``zipf`` draws one of users/mean_size
    rooms with probability proportional to 1/rank. The sizes then follow a power law (Zipf 1949; group sizes of chat
    services are heavy-tailed: https://arxiv.org/abs/1408.5558 for Tencent QQ).
    """
    if sizes == "one":
        return "load-0"
    if sizes == "equal":
        return f"load-{index // mean_size}"
    weights = _cumulative(max(1, users // mean_size))
    draw = random.Random(f"{seed}/{index}").random() * weights[-1]
    return f"load-{bisect(weights, draw)}"
