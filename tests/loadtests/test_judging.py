"""Figures, shapes, validity and verdict; and what a killed user leaves behind."""

from __future__ import annotations

import pytest

from tests.loadtests.conftest import keep, promises


@pytest.mark.process
@pytest.mark.parametrize("promise", promises("judging"))
def test_the_judges_promise(promise: str) -> None:
    keep("judging", promise)


@pytest.mark.process
@pytest.mark.parametrize("promise", promises("stopping"))
def test_a_user_who_is_killed_leaves_everything_in_order(promise: str) -> None:
    keep("stopping", promise)
