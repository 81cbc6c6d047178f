"""Run the chat load test as a process on another host would: its stamps name another clock."""

from chatsys.results import stamps

stamps.HOST = "0dd0e5"  # before the personas import it

from chatsys.loadtesting.locustfile import *  # noqa: E402, F403
