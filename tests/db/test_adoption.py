"""The original backend's database becomes a chatsys database in place; no row is lost, duplicated or reordered."""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Callable

import psycopg
import pytest

from chatsys.chat.passwords import Passwords
from chatsys.database.admin import TABLES, current_version, upgrade
from chatsys.database.invariants import broken_invariants
from chatsys.database.opening import open_prepared_store
from chatsys.database.setup import initialise
from chatsys.database.tools import reading_tools
from chatsys.store.address import read_url
from chatsys.store.options import StoreOptions
from tests.contract.conftest import Cast
from tests.db.conftest import KILLS, Server, chatsys, content, killed, moments, rows, run, seconds_of, started

Fill = Callable[[int], str]

FURTHER = (
    "message_reactions", "direct_messages", "user_blocks", "message_attachments", "dm_attachments", "notifications",
    "message_mentions", "user_contacts", "message_edit_history", "user_preferences",
)  # fmt: skip
KEEP = "CREATE SCHEMA before; " + "; ".join(
    f"CREATE TABLE before.{table} AS SELECT ctid AS place, * FROM {table}"
    for table in TABLES
    if table != "chat_servers"
)


def adopt(url: str) -> None:
    """Keep a copy of every row in the schema ``before``, then adopt the database."""
    run(url, KEEP)
    assert initialise(url).adopted["messages"] > 0


@pytest.mark.database
@pytest.mark.parametrize("server", ["postgres15_server"], indirect=True)  # the rooms whose sort order is not that of C
def test_adoption_keeps_each_of_fifty_thousand_messages_in_order(original: Fill) -> None:
    url = original(50_000)
    adopt(url)
    places = defaultdict(list)
    for message, room, at, place in rows(
        url,
        "SELECT m.message_id, coalesce(m.room_id, (SELECT room_id FROM rooms WHERE room_name = 'recovered')),"
        " coalesce(m.created_at, r.created_at), place FROM before.messages m LEFT JOIN rooms r USING (room_id)",
    ):
        page, line = place[1:-1].split(",")
        places[room].append((at, int(page), int(line), message))
    expected = {
        (message, room, seq) for room, found in places.items() for seq, (*_, message) in enumerate(sorted(found), 1)
    }
    assert len(expected) == 50_003
    assert set(rows(url, "SELECT message_id, room_id, seq FROM messages")) == expected
    changed = """
        SELECT m.message_id FROM messages m FULL JOIN before.messages b USING (message_id)
        WHERE (m.user_id, m.message_text, m.edited_at, m.is_deleted)
              IS DISTINCT FROM (b.user_id, b.message_text, b.edited_at, coalesce(b.is_deleted, false))
           OR (b.room_id IS NOT NULL AND m.room_id <> b.room_id)
           OR (b.created_at IS NOT NULL AND m.created_at <> b.created_at)
    """
    assert rows(url, changed) == []
    assert rows(url, "SELECT room_id, last_seq FROM rooms WHERE last_seq <> (SELECT count(*) FROM messages m"
                     " WHERE m.room_id = rooms.room_id)") == []  # fmt: skip


def test_adoption_keeps_each_user_and_fills_in_missing_values(original: Fill) -> None:
    url = original(100)
    adopt(url)
    changed = """
        SELECT u.user_id FROM users u FULL JOIN before.users b USING (user_id)
        WHERE (u.username, u.password, u.display_name, u.bio, u.last_seen, u.last_login, u.status) IS DISTINCT FROM
              (b.username, b.password, coalesce(b.display_name, b.username), coalesce(b.bio, ''), b.last_seen,
               b.last_login, 'offline')
           OR (b.avatar IS NOT NULL AND u.avatar <> b.avatar)
           OR (b.created_at IS NOT NULL AND u.created_at <> b.created_at) OR u.updated_at <> b.updated_at
    """
    assert rows(url, changed) == []
    avatar = rows(url, "SELECT avatar FROM users WHERE username LIKE 'Zo%'")[0][0]
    assert avatar == "https://ui-avatars.com/api/?name=Zo%C3%AB%20%26%20%C3%9Cnal&background=667eea&color=fff"


def test_adoption_lowers_emails_unless_another_account_has_that_form(original: Fill) -> None:
    url = original(0)
    adopt(url)
    emails = dict(rows(url, "SELECT username, email FROM users WHERE username !~ '^user_'"))
    assert emails["Shouting"] == "shouting@example.org"
    assert (emails["twin_old"], emails["twin_new"]) == ("twin@example.org", "twin@EXAMPLE.org")


def test_adoption_keeps_receipts_and_members(original: Fill) -> None:
    url = original(2_000)
    adopt(url)
    for table, key, at in (
        ("message_reads", "read_id", "read_at"),
        ("message_deliveries", "delivery_id", "delivered_at"),
    ):
        lost = f"""
            SELECT {key} FROM {table} t FULL JOIN before.{table} b USING ({key})
            WHERE b.user_id IS NOT NULL AND ((t.message_id, t.user_id) IS DISTINCT FROM (b.message_id, b.user_id)
               OR (b.{at} IS NOT NULL AND t.{at} IS DISTINCT FROM b.{at}))
        """
        assert rows(url, lost) == []
    members = "SELECT member_id, room_id, user_id FROM {}room_members WHERE user_id IS NOT NULL"
    assert set(rows(url, members.format(""))) == set(rows(url, members.format("before.")))


def test_adoption_removes_the_sessions_of_the_dead_server(original: Fill) -> None:
    url = original(10)
    assert rows(url, "SELECT count(*) > 0 FROM active_sessions") == [(True,)]
    adopt(url)
    assert rows(url, "SELECT count(*) FROM active_sessions") == [(0,)]


def test_adoption_leaves_further_tables_alone(original: Fill) -> None:
    url = original(1_000)
    before = {one for one in content(url) if one.table.removeprefix("public.") in FURTHER}
    assert len(before) == len(FURTHER)
    assert all(one.rows for one in before)
    adopt(url)
    assert before <= set(content(url))
    assert len(rows(url, "SELECT * FROM operators_view")) == 11
    assert rows(url, "SELECT count(*) > 0 FROM messages_with_reactions_view") == [(True,)]


def test_adopted_database_keeps_every_invariant(original: Fill) -> None:
    url = original(2_000)
    adopt(url)
    with psycopg.connect(url) as connection:
        assert broken_invariants(connection) == []
    assert rows(url, "SELECT sum(total_messages) FROM room_stats_view") == [(1_953,)]  # 50 are marked as deleted
    assert rows(url, "SELECT count(*) FROM messages_with_user_view") == [(2_003,)]


def test_adopted_schema_equals_that_of_a_fresh_database(server: Server, original: Fill) -> None:
    url = original(50)
    initialise(url)
    with server.database("template0") as fresh:
        upgrade(fresh)
        assert schema_of(url) == schema_of(fresh)


def schema_of(url: str) -> list[str]:
    """Return the tables and views of chatsys as pg_dump writes them, without comments."""
    names = [*TABLES, "active_users_view", "room_stats_view", "messages_with_user_view"]
    wanted = [f"--table={name}" for name in names]
    command = reading_tools().command(
        "pg_dump", "--schema-only", "--no-owner", "--restrict-key=0", *wanted, read_url(url).libpq
    )
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # Comments belong to the original. pg_attver is a note of Debian's server that only Debian's pg_dump leaves out.
    passing = ("--", "COMMENT ON TABLE")
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith(passing)]
    return sorted(line for line in lines if "pg_attver" not in line)


def test_adopting_twice_changes_nothing(original: Fill) -> None:
    url = original(500)
    initialise(url)
    before = content(url)
    said = chatsys("db", "init", "--database-url", url)
    assert said.stdout.endswith("nothing to do.\n")
    assert content(url) == before


def test_adoption_command_says_what_it_adopted(original: Fill) -> None:
    url = original(300)
    said = chatsys("db", "init", "--database-url", url)
    assert "204 users, 11 rooms, 303 messages" in said.stdout
    said = chatsys("db", "migrate", "--database-url", url)
    assert said.returncode == 0


def test_adoption_fails_unchanged_while_a_backend_is_still_writing(original: Fill) -> None:
    url = original(50)
    before = content(url)
    with psycopg.connect(url) as backend:
        backend.execute("INSERT INTO messages (message_text) VALUES ('one more')")
        said = chatsys("db", "init", "--database-url", url)
        assert "Stop the programs that use the database" in said.stderr
        backend.rollback()
    assert content(url) == before


@pytest.mark.timeout(600)
def test_adoption_killed_at_any_moment_can_be_run_again(server: Server, original: Fill) -> None:
    template = original(20_000)
    name = rows(template, "SELECT current_database()")[0][0]
    before = content(template)
    with server.database(name) as url:
        whole = seconds_of("db", "init", "--database-url", url)
        adopted = messages_of(url)
    for moment in moments(whole, KILLS, seed=7):
        with server.database(name) as url:
            killed(started("db", "init", "--database-url", url), moment, url)
            if current_version(url) is None:
                assert [one for one in content(url) if one.table != "public.alembic_version"] == list(before)
            initialise(url)
            assert messages_of(url) == adopted


def messages_of(url: str) -> list[tuple[object, ...]]:
    """Return every message's row."""
    return rows(url, "SELECT message_id, user_id, message_text, created_at, seq FROM messages ORDER BY message_id")


@pytest.mark.parametrize(("username", "password"), [("user_2", "secret-a"), ("user_3", "secret-b")])
async def test_adopted_users_log_in_with_their_old_passwords(original: Fill, username: str, password: str) -> None:
    url = original(10)
    initialise(url)
    async with open_prepared_store(url, StoreOptions(pool_size=5)) as store:
        for name in (username, f"{username.replace('_', '')}@EXAMPLE.org"):
            user = await (store.user_by_email(name) if "@" in name else store.user_by_name(name))
            assert user is not None
            with Passwords() as passwords:
                assert await passwords.matches(password, user.password_hash)
                assert not await passwords.matches("another", user.password_hash)


async def test_adopted_history_is_served_in_order_and_continues(original: Fill) -> None:
    url = original(3_000)
    initialise(url)
    async with open_prepared_store(url, StoreOptions(pool_size=5)) as store:
        cast = Cast(store)
        found = await store.messages_since("general", 0, 1_000)
        shown = rows(url, "SELECT m.seq FROM messages m JOIN rooms r USING (room_id)"
                          " WHERE r.room_name = 'general' AND NOT m.is_deleted ORDER BY m.seq")  # fmt: skip
        assert [message.seq for message in found] == [seq for (seq,) in shown]
        assert (len(found), found[-1].seq) == (225, 299)
        assert [message.at for message in found] == sorted(message.at for message in found)
        posted = await cast.post(cast.guest("new"), "general", "after the move")
        assert posted.seq == 301
