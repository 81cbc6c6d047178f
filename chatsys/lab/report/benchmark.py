"""The page of a benchmark, with what only the lab can say: of the buses between servers, and of servers of others."""

from __future__ import annotations

from collections.abc import Sequence

from chatsys.lab.report import buses, peers
from chatsys.reports import bench
from chatsys.reports.page import Page
from chatsys.results.distributions import Distribution
from chatsys.results.run import Result


def page(result: Result, distributions: Sequence[Distribution]) -> Page:
    """Everything the run has to say."""
    return bench.page(result, distributions, buses.parts(result, distributions), peers.parts(result))
