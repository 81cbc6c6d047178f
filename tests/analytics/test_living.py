"""What the notebooks show with LIVE, and how the committed recording of a live chat is made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chatsys.analytics import Monitor
from chatsys.analytics.catalogue import QUERIES
from chatsys.analytics.living import MEMBERS, living_chat
from chatsys.analytics.recording import record


@pytest.mark.process
def test_live_chat_can_be_watched_and_recorded(tmp_path: Path) -> None:
    with living_chat() as url, Monitor(url) as monitor:
        file = record(monitor, tmp_path / "monitoring", seconds=2)
        assert len(monitor.active_users()) == MEMBERS
        assert monitor.room_stats()["messages"].sum() > 0
    assert "/postgres/run" not in file.read_text()
    frames = json.loads(file.read_text())["frames"]
    assert {*QUERIES, "watch", "diff"} <= set(frames)
