"""The report of a benchmark, including the parts about the buses and about other Socket.IO servers."""

from __future__ import annotations

from collections.abc import Sequence

from chatsys.lab.report import buses, peers
from chatsys.reports import bench
from chatsys.reports.page import Page
from chatsys.results.distributions import Distribution
from chatsys.results.run import Result


def page(result: Result, distributions: Sequence[Distribution]) -> Page:
    """The whole report of a run."""
    return bench.page(result, distributions, buses.parts(result, distributions), peers.parts(result))
