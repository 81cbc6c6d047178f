"""The sizes and durations of a run. They are fixed before the run and part of its record."""

from __future__ import annotations

import msgspec


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Counts, and times in seconds.

    ``growth`` has the sizes n of the growth experiments: n users and n messages. A repetition ends after
    ``repetition`` seconds, but makes at least ``least_calls`` and at most ``most_calls`` calls.
    """

    name: str
    users: int
    messages: int
    rounds: int
    repetition: float
    growth: tuple[int, ...]
    growth_rounds: int
    growth_repetition: float
    senders: tuple[int, ...] = (1, 16, 64, 256)
    members: tuple[int, ...] = (1, 10, 100, 500, 2_000)
    idle_connections: int = 400
    stretch: float
    """Seconds of one real-time measurement (a load level, a fan-out size)."""
    stretches: int
    """How often each subject repeats it."""
    upkeep_messages: int
    upkeep_rounds: int
    flood: float = 6.0
    """Seconds of each flood, and of the two calm repetitions around it together."""
    large_room: int = 10_000
    """Members of the large room."""
    peer_members: tuple[int, ...] = (1, 10, 100, 500, 2_000, 10_000)
    """Members of the rooms in the comparison with other Socket.IO servers."""
    peer_idle: int = 18_000
    """Idle connections in the comparison of their memory."""
    leave_out: tuple[str, ...] = ()
    """Experiments that run only if ``--only`` names them."""
    least_calls: int = 5
    most_calls: int = 2000


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            name="quick", users=10_000, messages=20_000, rounds=4, repetition=0.03,
            growth=(100, 1_000, 10_000), growth_rounds=3, growth_repetition=0.04,
            senders=(64,), members=(100,), idle_connections=300, stretch=0.25, stretches=3,
            upkeep_messages=5_000, upkeep_rounds=2, peer_members=(1, 10, 100), peer_idle=1_000,
            leave_out=(
                "peers", "arrivals", "push", "distance", "idle", "fairness", "fairness_floods", "slow_reader",
                "receipts", "storm", "large_room", "buses_of_two", "buses_of_four", "workers", "upkeep",
            ),
        ),
        Profile(
            name="standard", users=100_000, messages=500_000, rounds=8, repetition=0.09,
            growth=(100, 1_000, 10_000, 100_000), growth_rounds=4, growth_repetition=0.06,
            stretch=0.3, stretches=4, upkeep_messages=10_000, upkeep_rounds=3,
            leave_out=("fairness_floods", "large_room", "buses_of_four", "peers"),
        ),
        Profile(
            name="full", users=1_000_000, messages=5_000_000, rounds=20, repetition=0.4,
            growth=(1_000, 10_000, 100_000, 1_000_000), growth_rounds=8, growth_repetition=0.3,
            stretch=2.0, stretches=8, upkeep_messages=100_000, upkeep_rounds=4,
            leave_out=("peers",),
        ),
    )
}  # fmt: skip
