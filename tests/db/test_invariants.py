"""Each invariant holds in a healthy database and detects the row that breaks it."""

from __future__ import annotations

import psycopg
import pytest

from chatsys.database.invariants import broken_invariants
from chatsys.resources import database_dir
from tests.db.conftest import fill_chat, run

BREAK = {
    "last_seq_is_the_newest": "UPDATE rooms SET last_seq = 5",
    "sequence_counts_from_one": "UPDATE messages SET seq = 0 WHERE seq = 3",
    "a_read_message_was_delivered": "ALTER TABLE message_deliveries DISABLE TRIGGER USER;"
    " DELETE FROM message_deliveries WHERE delivery_id = (SELECT delivery_id FROM message_deliveries LIMIT 1)",
    "a_delivery_knows_whether_it_was_read": "UPDATE message_deliveries SET is_read = NOT is_read"
    " WHERE delivery_id = (SELECT delivery_id FROM message_deliveries LIMIT 1)",
    "nobody_receipts_their_own": "UPDATE messages SET user_id = (SELECT user_id FROM users WHERE username = 'u1')",
    "online_users_have_a_session": "UPDATE users SET status = 'online' WHERE username = 'u1'",
    "sessions_belong_to_a_server": "INSERT INTO active_sessions (guest_id, guest_name, socket_id, room_id)"
    " SELECT 'g', 'g', 's', room_id FROM rooms LIMIT 1",
    "default_rooms_exist": "DELETE FROM rooms WHERE room_name = 'tech'",
    "rows_refer_to_rows": "ALTER TABLE messages DISABLE TRIGGER ALL;"
    " UPDATE messages SET user_id = gen_random_uuid() WHERE seq = 10",
}


def broken(url: str) -> list[str]:
    """Return the names of the invariants that do not hold."""
    with psycopg.connect(url) as connection:
        return [one.name for one in broken_invariants(connection)]


def test_every_invariant_has_a_test_row_that_breaks_it() -> None:
    assert sorted(BREAK) == sorted(file.stem for file in (database_dir() / "invariants").glob("*.sql"))


def test_healthy_database_breaks_no_invariant(fresh: str) -> None:
    fill_chat(fresh, 100)
    assert broken(fresh) == []


@pytest.mark.parametrize("name", sorted(BREAK))
def test_broken_invariant_is_found(fresh: str, name: str) -> None:
    fill_chat(fresh, 20)
    run(fresh, BREAK[name])
    assert name in broken(fresh)
