"""The chat load test as a process on another host runs it: its stamps name another clock."""

from chatsys.results import stamps

stamps.HOST = "0dd0e5"  # before the personas take it over

from chatsys.loadtesting.locustfile import *  # noqa: E402, F403
