"""SIGKILL at a random moment of a restore or a clean-up loses and duplicates nothing, and the next run continues."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from chatsys.database.backup import backup
from chatsys.database.cleanup import cleanup
from chatsys.database.invariants import broken_invariants
from chatsys.database.restore import restore
from tests.db.conftest import KILLS, Server, content, fill_chat, killed, moments, rows, seconds_of, started

OLD = "SELECT message_id, seq, message_text FROM messages WHERE created_at < now() - interval '30 days' ORDER BY seq"
YOUNG = "SELECT message_id, seq, message_text FROM messages WHERE created_at >= now() - interval '25 days' ORDER BY seq"

pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("name", ["chat.sql", "chat.dump"])
def test_killed_restore_leaves_the_old_or_the_new_content(
    server: Server, fresh: str, tmp_path: Path, name: str
) -> None:
    fill_chat(fresh, 10_000)
    file = backup(fresh, tmp_path / name).file
    new = content(fresh)
    with server.database() as url:
        command = ("db", "restore", str(file), "--yes", "--database-url", url)
        whole = seconds_of(*command)
        assert content(url) == new
    interrupted = 0
    for moment in moments(whole, KILLS, seed=11):
        with server.database() as url:
            fill_chat(url, 200)
            old = content(url)
            killed(started(*command[:-1], url), moment, url)
            found = content(url)
            assert found in (old, new)
            interrupted += found == old
            restore(url, file)
            assert content(url) == new
    assert interrupted


def test_killed_clean_up_has_deleted_only_whole_batches_of_old_messages(server: Server, fresh: str) -> None:
    fill_chat(fresh, 12_000, days=60)
    template = rows(fresh, "SELECT current_database()")[0][0]
    young = rows(fresh, YOUNG)
    arguments = ("db", "cleanup", "--messages-older-than", "30d", "--database-url")
    with server.database(template) as url:
        whole = seconds_of(*arguments, url)
    for moment in moments(whole, KILLS, seed=13):
        with server.database(template) as url:
            old = rows(url, OLD)
            killed(started(*arguments, url), moment, url)
            left = rows(url, OLD)
            assert left == old[len(old) - len(left) :], "the oldest go first"
            assert rows(url, YOUNG) == young
            with psycopg.connect(url) as connection:
                assert broken_invariants(connection) == []
            cleanup(url, sessions_older_than=None, messages_older_than=timedelta(days=30))
            assert rows(url, OLD) == []
            assert rows(url, YOUNG) == young
