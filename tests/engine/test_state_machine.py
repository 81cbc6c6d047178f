"""A client and the engine against each other, with events in any order: nothing is lost, doubled or left over."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chatsys.engine.outbound import State
from chatsys.protocol.events import sent
from chatsys.protocol.packets import encode_payload

from .conftest import Application, FakeLoop, Socket, make_engine

OPEN = (State.POLLING, State.PROBING, State.WEBSOCKET)


class ClientAndServer(RuleBasedStateMachine):
    """The client polls or has a WebSocket, and upgrades; it reads, or leaves sent packets unread."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = FakeLoop()
        self.application = Application()
        self.engine = make_engine(self.application, self.loop)
        self.connection = self.engine.open("polling")
        self.socket: Socket | None = None
        self.woken = False
        self.open_poll = False
        self.got: list[str] = []
        self.sent_by_client = self.sent_by_server = 0
        self.connects = 0
        self.poll()
        self.client_packet("40")
        self.settle()

    # -- helpers

    def client_packet(self, text: str) -> None:
        self.connection.received(text)

    def take(self, packets: list[str]) -> None:
        """Receive packets for the client, which answers pings."""
        for packet in packets:
            if packet == "2":
                self.client_packet("3")
            self.got.append(packet)

    def settle(self) -> None:
        self.loop.settle()
        if self.open_poll and self.woken:
            self.open_poll = self.woken = False
            self.take(encode_payload(self.connection.polled()).decode().split("\x1e"))
        if self.socket is not None:
            texts, self.socket.writes = self.socket.texts(), []
            self.take([text for text in texts if not text.startswith("close")])
        self.loop.settle()

    def wake(self) -> None:
        self.woken = True

    # -- the client

    @precondition(lambda self: self.connection.state in (State.POLLING, State.PROBING) and not self.open_poll)
    @rule()
    def poll(self) -> None:
        self.woken = False
        packets = self.connection.poll(self.wake)
        if packets is None:
            self.open_poll = True
        else:
            self.take(encode_payload(packets).decode().split("\x1e"))
        self.settle()

    @precondition(lambda self: self.connection.state in OPEN)
    @rule(count=st.integers(1, 5))
    def send(self, count: int) -> None:
        for _ in range(count):
            if self.connection.socket_id is not None and self.connection.inbox is None:
                self.sent_by_client += 1
                self.client_packet(f'42["{self.sent_by_client}"]')
                self.settle()

    @precondition(lambda self: self.connection.state is State.POLLING)
    @rule()
    def probe(self) -> None:
        assert self.connection.probed()
        self.settle()

    @precondition(lambda self: self.connection.state is State.PROBING)
    @rule(succeeds=st.booleans())
    def end_probe(self, succeeds: bool) -> None:
        if succeeds and not self.open_poll:
            self.socket = Socket()
            self.connection.adopt(self.socket)
        else:
            self.connection.probe_lost()
        self.settle()

    @precondition(lambda self: self.connection.state is State.WEBSOCKET)
    @rule()
    def stop_reading(self) -> None:
        assert self.socket is not None
        if not self.socket.stalled:
            self.socket.stalled = True
            self.connection.stalled()

    @precondition(lambda self: self.connection.state is State.WEBSOCKET)
    @rule()
    def read_again(self) -> None:
        assert self.socket is not None
        if self.socket.stalled:
            self.socket.stalled = False
            self.connection.writable()
            self.settle()

    @precondition(lambda self: self.connection.state in OPEN)
    @rule()
    def leave_and_come_back(self) -> None:
        self.client_packet("41")
        self.client_packet("40")
        self.settle()
        self.connects += 1

    @precondition(lambda self: self.connection.state in OPEN)
    @rule(how=st.sampled_from(["1", "4abc", "9"]))
    def go(self, how: str) -> None:
        self.client_packet(how)
        self.settle()

    # -- the server

    @precondition(lambda self: self.connection.state in OPEN)
    @rule(count=st.integers(1, 40))
    def push(self, count: int) -> None:
        for _ in range(count):
            if not self.connection.behind:  # packets pushed to a client that is behind may be dropped
                self.sent_by_server += 1
                (out,) = sent(["n", self.sent_by_server])
                self.connection.push(out)
        self.settle()

    @rule(seconds=st.sampled_from([0.5, 5.0, 15.0]))
    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds * 2)):
            self.loop.pass_time(0.5)
            self.settle()

    # -- invariants

    @invariant()
    def the_client_has_got_what_was_sent_in_order(self) -> None:
        numbers = [int(text.split(",")[1][:-1]) for text in self.got if text.startswith('42["n",')]
        assert numbers == list(range(1, len(numbers) + 1))
        reads = self.socket is not None and not self.socket.stalled
        if self.connection.state is State.WEBSOCKET and reads:
            assert len(numbers) == self.sent_by_server

    @invariant()
    def the_server_has_got_what_was_sent_in_order(self) -> None:
        assert self.application.names == [f"{number}" for number in range(1, self.sent_by_client + 1)]

    @invariant()
    def an_end_is_reported_once_and_leaves_nothing(self) -> None:
        if self.connection.closing:
            assert self.connection.state is State.CLOSED
            assert self.application.gone == ["/"] * (self.connects + 1)
            assert (self.engine.connections, self.engine.memory.held) == ({}, 0)

    def teardown(self) -> None:
        self.loop.close()


TestClientAndServer = ClientAndServer.TestCase
TestClientAndServer.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
