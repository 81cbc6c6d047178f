"""Figures, shapes, validity and verdict."""

from __future__ import annotations

import pytest

from tests.loadtests.conftest import keep, promises


@pytest.mark.parametrize("promise", promises("judging"))
def test_the_judges_promise(promise: str) -> None:
    keep("judging", promise)
