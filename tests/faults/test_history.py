"""The judgement of a complete history: each kind of violation is found, and a correct history has none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsys.results.audit import AuditedMessage
from chatsys.results.history import KINDS, ClientDiary, History, JoinedEntry, Listed, Pushed, Sending, findings
from chatsys.results.stamps import text_of

ROOM = "tea"


class Model:
    """A correct chat in one room: each member gets each message at once, or in the replay of the next join."""

    def __init__(self) -> None:
        self.history = History("run")
        self.stored = self.history.stored.setdefault(ROOM, [])
        self.clients: dict[str, ClientDiary] = {}
        self.connected: set[str] = set()
        self.clock = 0.0

    def tick(self) -> float:
        self.clock += 1
        return self.clock

    def join(self, user: str) -> None:
        """Join for the first time, or rejoin with a replay; do nothing if the user is connected."""
        if user in self.connected:
            return
        known = self.clients.get(user)
        if known is None:
            known = self.clients[user] = ClientDiary(user, ROOM, diary=[JoinedEntry(len(self.stored))])
            self.history.clients.append(known)
        else:
            seen = max(
                [entry.message.seq for entry in known.diary if isinstance(entry, Pushed)]
                + [entry.last_seq for entry in known.diary if isinstance(entry, JoinedEntry)]
            )
            known.diary.append(JoinedEntry(len(self.stored), again=True, replay=self.stored[seen:]))
        self.connected.add(user)
        self.listed()

    def drop(self, user: str) -> None:
        """Lose the user's connection."""
        if user in self.connected:
            self.connected.remove(user)
            self.listed()

    def send(self, user: str, fate: str) -> None:
        """Send a message that is ``acked``, stored but ``unanswered``, ``lost``, or acknowledged ``twice``."""
        if user not in self.connected:
            return
        number = len(self.history.sendings)
        text = text_of("run", f"t{number}", 1, 1)
        sending = Sending(f"t{number}", ROOM, text, self.tick())
        self.history.sendings.append(sending)
        if fate == "lost":
            return
        message = AuditedMessage(f"id-{len(self.stored) + 1}", len(self.stored) + 1, text)
        self.stored.append(message)
        for member in self.connected:
            self.clients[member].diary.append(Pushed(message))
        if fate != "unanswered":
            sending.acked_at = self.tick()
            sending.answers = [(message.seq, message.id)] * (2 if fate == "twice" else 1)

    def listed(self) -> None:
        """Send the list of members to all members."""
        for user in self.connected:
            self.clients[user].diary.append(Listed(sorted(self.connected)))

    def end(self) -> History:
        """End the run: users who are not connected have left."""
        for user, client in self.clients.items():
            client.present = user in self.connected
        self.history.listed[ROOM] = [sorted(self.connected)]
        return self.history


USERS = st.sampled_from(["ann", "ben", "cleo"])
STEPS = st.one_of(
    st.tuples(st.just("join"), USERS),
    st.tuples(st.just("drop"), USERS),
    st.tuples(st.just("send"), USERS, st.sampled_from(["acked", "unanswered", "lost", "twice"])),
)


def history_of(steps: list[tuple[str, ...]]) -> History:
    model = Model()
    for name, *arguments in steps:
        getattr(model, name)(*arguments)
    return model.end()


@settings(max_examples=60)
@given(st.lists(STEPS, max_size=60))
def test_correct_history_has_no_finding(steps: list[tuple[str, ...]]) -> None:
    assert findings(history_of(steps)) == []


def correct() -> History:
    """Two members and four messages; the second member is disconnected during one of them and rejoins."""
    steps = [("join", "ann"), ("join", "ben"), ("send", "ann", "acked"), ("drop", "ben"), ("send", "ann", "acked")]
    return history_of([*steps, ("join", "ben"), ("send", "ben", "acked"), ("send", "ann", "acked")])


def pushes(history: History, user: int) -> list[int]:
    """The indexes of the pushes in a client's diary."""
    return [index for index, entry in enumerate(history.clients[user].diary) if isinstance(entry, Pushed)]


def drop_a_push(history: History) -> None:
    del history.clients[0].diary[pushes(history, 0)[1]]


def drop_the_last_push(history: History) -> None:
    del history.clients[0].diary[pushes(history, 0)[-1]]


def empty_the_replay(history: History) -> None:
    for entry in history.clients[1].diary:
        if isinstance(entry, JoinedEntry):
            entry.replay = []


def double_a_push(history: History) -> None:
    diary, index = history.clients[0].diary, pushes(history, 0)[1]
    diary.insert(index, diary[index])


def swap_two_pushes(history: History) -> None:
    diary, (first, second, *_) = history.clients[0].diary, pushes(history, 0)
    diary[first], diary[second] = diary[second], diary[first]


def lose_a_stored_message(history: History) -> None:
    del history.stored[ROOM][1]


def store_it_under_another_id(history: History) -> None:
    history.stored[ROOM][1] = msgspec.structs.replace(history.stored[ROOM][1], id="another")


def store_another_text(history: History) -> None:
    message = history.stored[ROOM][1]
    history.stored[ROOM][1] = msgspec.structs.replace(message, message=message.message + " and more")


def store_it_twice(history: History) -> None:
    message = history.stored[ROOM][3]
    history.stored[ROOM].append(AuditedMessage("again", 5, message.message))


def store_it_twice_without_an_answer(history: History) -> None:
    history.sendings[3].answers = []
    store_it_twice(history)


def leave_a_number_out(history: History) -> None:
    history.stored[ROOM][3] = msgspec.structs.replace(history.stored[ROOM][3], seq=5)


def answer_with_two_numbers(history: History) -> None:
    history.sendings[0].answers.append((7, "id-7"))


def acknowledge_before_the_smaller_was_sent(history: History) -> None:
    history.sendings[0].sent_at = 100


def keep_a_ghost(history: History) -> None:
    history.listed[ROOM][0].append("dora")


def keep_a_second_session(history: History) -> None:
    history.listed[ROOM][0].append("ann")


def forget_a_member(history: History) -> None:
    history.listed[ROOM][0].remove("ben")


def send_an_old_list(history: History) -> None:
    history.clients[0].diary.append(Listed(["ann"]))


def push_another_text(history: History) -> None:
    diary, index = history.clients[0].diary, pushes(history, 0)[0]
    diary[index] = Pushed(AuditedMessage("id-1", 1, "something else"))


PLANTED: list[tuple[Callable[[History], None], set[str]]] = [
    (drop_a_push, {"dropped"}),
    (drop_the_last_push, {"dropped"}),
    (empty_the_replay, {"dropped"}),
    (double_a_push, {"doubled"}),
    (swap_two_pushes, {"swapped"}),
    (lose_a_stored_message, {"not_stored", "gaps", "altered"}),
    (store_it_under_another_id, {"not_stored", "not_acknowledged", "altered"}),
    (store_another_text, {"not_stored", "not_acknowledged", "altered"}),
    (store_it_twice, {"not_acknowledged", "dropped"}),
    (store_it_twice_without_an_answer, {"stored_twice"}),
    (leave_a_number_out, {"not_stored", "not_acknowledged", "gaps", "altered", "dropped"}),
    (answer_with_two_numbers, {"answers_differ"}),
    (acknowledge_before_the_smaller_was_sent, {"reordered"}),
    (keep_a_ghost, {"ghosts"}),
    (keep_a_second_session, {"ghosts"}),
    (forget_a_member, {"absent"}),
    (send_an_old_list, {"absent"}),
    (push_another_text, {"altered"}),
]


@pytest.mark.parametrize(("plant", "kinds"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_planted_violation_is_found_and_named(plant: Callable[[History], Any], kinds: set[str]) -> None:
    history = correct()
    assert findings(history) == []
    plant(history)
    found = findings(history)
    assert {finding.kind for finding in found} == kinds
    assert all(finding.count and finding.examples for finding in found)


def test_two_messages_with_one_number_are_found() -> None:
    history = correct()
    history.sendings[0].answers = [(1, "another")]
    assert {finding.kind for finding in findings(history)} == {"not_stored", "not_acknowledged"}


def test_gap_that_the_server_announced_is_no_finding() -> None:
    steps = [("join", "ann"), ("join", "ben"), ("drop", "ben"), *[("send", "ann", "acked")] * 3, ("join", "ben")]
    for complete, kinds in ((True, {"dropped"}), (False, set())):
        history = history_of(steps)
        for entry in history.clients[1].diary:
            if isinstance(entry, JoinedEntry) and entry.again:
                entry.replay, entry.complete = entry.replay[-1:], complete
        assert {finding.kind for finding in findings(history)} == kinds


def test_each_kind_of_finding_is_planted_by_a_test() -> None:
    planted = set().union(*(kinds for _, kinds in PLANTED))
    assert set(KINDS) - planted == {"renumbered", "incomplete"}
