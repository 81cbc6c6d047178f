"""A clean-up deletes only what is old, in short transactions."""

from __future__ import annotations

from datetime import timedelta

import pytest

from chatsys.database import cleanup as module
from chatsys.database.cleanup import cleanup, preview
from chatsys.errors import StoreError
from tests.db.conftest import content, fill_chat, rows, run

DAY = timedelta(days=1)


def clean(url: str, **ages: timedelta | None) -> module.Cleaned:
    """Clean up what ``ages`` names."""
    given = {"sessions_older_than": None, "messages_older_than": None, **ages}
    return cleanup(url, **given)


def add_sessions(url: str) -> None:
    """Add sessions of a live server, of a dead one and of none, idle for two days, and a recent one of none."""
    run(
        url,
        """
        INSERT INTO chat_servers VALUES
            ('00000000-0000-0000-0000-000000000001', now(), now() + interval '1 hour'),
            ('00000000-0000-0000-0000-000000000002', now(), now() - interval '1 hour');
        INSERT INTO active_sessions (user_id, socket_id, room_id, last_activity, server_id)
        SELECT u.user_id, s.socket, r.room_id, now() - s.age, s.server::uuid
        FROM (VALUES ('u1', 'alive', interval '2 days', '00000000-0000-0000-0000-000000000001'),
                     ('u1', 'dead', interval '2 days', '00000000-0000-0000-0000-000000000002'),
                     ('u2', 'none', interval '2 days', NULL),
                     ('u3', 'young', interval '1 hour', NULL)) s (username, socket, age, server)
        JOIN users u USING (username), rooms r WHERE r.room_name = 'tech';
        UPDATE users SET status = 'online' WHERE username IN ('u1', 'u2', 'u3');
        """,
    )


def test_clean_up_deletes_only_messages_older_than_the_age(fresh: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 70)
    fill_chat(fresh, 1_000, days=60)
    young = rows(
        fresh, "SELECT message_id, seq FROM messages WHERE created_at >= now() - interval '30 days' ORDER BY seq"
    )
    done = clean(fresh, messages_older_than=30 * DAY)
    assert done.messages == 1_000 - len(young)
    assert rows(fresh, "SELECT message_id, seq FROM messages ORDER BY seq") == young
    assert rows(fresh, "SELECT 1 FROM message_reads WHERE message_id NOT IN (SELECT message_id FROM messages)") == []
    assert rows(fresh, "SELECT last_seq FROM rooms WHERE room_name = 'general'") == [(1_000,)]


def test_dry_run_says_what_a_run_would_delete_and_changes_nothing(fresh: str) -> None:
    fill_chat(fresh, 400)
    add_sessions(fresh)
    before = content(fresh)
    ages = {"sessions_older_than": DAY, "messages_older_than": 30 * DAY}
    planned = preview(fresh, **ages)
    assert content(fresh) == before
    done = cleanup(fresh, **ages)
    assert (planned.messages, planned.sessions) == (done.messages, done.sessions)
    assert planned.size == pytest.approx(done.size, rel=0.01)
    assert done.messages == 200
    assert done.size > 200 * 60


def test_clean_up_deletes_only_sessions_of_dead_servers(fresh: str) -> None:
    fill_chat(fresh, 1)
    add_sessions(fresh)
    assert clean(fresh, sessions_older_than=DAY).sessions == 2
    assert rows(fresh, "SELECT socket_id FROM active_sessions ORDER BY 1") == [("alive",), ("young",)]


def test_user_whose_last_session_is_deleted_is_offline(fresh: str) -> None:
    fill_chat(fresh, 1)
    add_sessions(fresh)
    clean(fresh, sessions_older_than=DAY)
    online = rows(fresh, "SELECT username FROM users WHERE status = 'online' ORDER BY 1")
    assert online == [("u1",), ("u3",)]


def test_clean_up_deletes_nothing_without_an_age(fresh: str) -> None:
    fill_chat(fresh, 50)
    add_sessions(fresh)
    assert clean(fresh, sessions_older_than=timedelta(0)).messages == 0
    assert clean(fresh, messages_older_than=timedelta(0)).sessions == 0


def test_second_clean_up_finds_nothing(fresh: str) -> None:
    fill_chat(fresh, 100)
    clean(fresh, messages_older_than=DAY)
    assert clean(fresh, messages_older_than=DAY).messages == 0


def test_earlier_batches_are_kept_when_a_later_one_fails(fresh: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 10)
    fill_chat(fresh, 100, days=60)
    run(
        fresh,
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF OLD.seq = 25 THEN RAISE 'no more'; END IF; RETURN OLD; END $$;
        CREATE TRIGGER refuse BEFORE DELETE ON messages FOR EACH ROW EXECUTE FUNCTION refuse();
        """,
    )
    with pytest.raises(StoreError, match="no more"):
        clean(fresh, messages_older_than=30 * DAY)
    assert rows(fresh, "SELECT count(*) FROM messages") == [(80,)]


def test_space_of_deleted_messages_is_reused(fresh: str) -> None:
    fill_chat(fresh, 4_000, days=60)
    before = rows(fresh, "SELECT pg_relation_size('messages')")[0][0]
    clean(fresh, messages_older_than=30 * DAY)
    run(
        fresh,
        "INSERT INTO messages (user_id, room_id, message_text, seq)"
        " SELECT u.user_id, r.room_id, 'message ' || i, 5000 + i FROM generate_series(1, 1900) i, users u, rooms r"
        " WHERE u.username = 'u1' AND r.room_name = 'general'",
    )
    assert rows(fresh, "SELECT pg_relation_size('messages')")[0][0] <= before * 1.05
