"""Figures, shapes, validity and verdict, and what remains of a killed user."""

from __future__ import annotations

import pytest

from tests.loadtests.conftest import check_promise, promises


@pytest.mark.process
@pytest.mark.parametrize("promise", promises("judging"))
def test_judging_keeps_its_promise(promise: str) -> None:
    check_promise("judging", promise)


@pytest.mark.process
@pytest.mark.parametrize("promise", promises("stopping"))
def test_killed_user_leaves_everything_in_order(promise: str) -> None:
    check_promise("stopping", promise)
