"""The rollback: the original's database gets everything written after the cut-over, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chatsys.chat.conversation import participant
from chatsys.database.opening import open_prepared_store
from chatsys.database.setup import initialise
from chatsys.model.values import UserChanges
from chatsys.store.address import read_url
from chatsys.store.options import StoreOptions
from tests.contract.conftest import Cast
from tests.db.conftest import Server, chatsys, content, rows

Fill = Callable[[int], str]

WRITTEN_SINCE = "SELECT message_text FROM messages WHERE created_at > '2030-01-01' ORDER BY created_at"


@contextmanager
def cut_over(server: Server, url: str) -> Iterator[str]:
    """Adopt the database ``url``; return the URL of its restored earlier backup."""
    with server.database(read_url(url).database) as backup:
        initialise(url)
        yield backup


async def chat(url: str) -> None:
    """Chat as people do after the cut-over."""
    async with open_prepared_store(url, StoreOptions(pool_size=5)) as store:
        cast = Cast(store)
        old, leaving = await store.user_by_name("user_2"), await store.user_by_name("user_7")
        assert old is not None
        assert leaving is not None
        new, user_2 = await cast.user("newcomer"), participant(old)
        newest = (await store.history("general", 1))[0]
        hello = await cast.post(new, "a new room", "hello, user_2")
        await cast.post(cast.guest("passing"), "a new room", "of a guest")
        await cast.post(user_2, "general", "still here")
        await store.mark_read("a new room", hello.message_id, user_2, cast.now())
        await store.mark_delivered("general", newest.message_id, new, cast.now())
        await store.update_user(old.user_id, UserChanges(display_name="Another name"))
        await store.delete_user(leaving.user_id, cast.now())


async def test_rollback_copies_everything_written_since_the_cut_over_once(server: Server, original: Fill) -> None:
    url = original(500)
    with cut_over(server, url) as backup:
        before = content(backup)
        await chat(url)
        ours = content(url)
        command = ("db", "rollback", "--to", backup, "--database-url", url)
        tried = chatsys(*command, "--dry-run")
        assert tried.returncode == 0, tried.stderr
        assert tried.stdout.startswith("Would bring back ")
        assert content(backup) == before
        done = chatsys(*command, "--yes")
        assert done.returncode == 0, done.stderr
        assert "2 messages, 2 message_deliveries, 1 message_reads" in done.stdout
        assert "1 deleted" in done.stdout
        assert "1 messages of guests stay" in done.stdout
        assert [text for (text,) in rows(backup, WRITTEN_SINCE)] == ["hello, user_2", "still here"]
        (hello,) = rows(backup, "SELECT m.user_id, r.room_name FROM messages m JOIN rooms r USING (room_id)"
                                " WHERE message_text = 'hello, user_2'")  # fmt: skip
        assert hello == (*rows(url, "SELECT user_id FROM users WHERE username = 'newcomer'")[0], "a new room")
        changed = "SELECT username, display_name FROM users WHERE username IN ('user_2', 'user_7')"
        assert rows(backup, changed) == [("user_2", "Another name")]
        readers = "SELECT u.username FROM message_reads JOIN users u USING (user_id) WHERE read_at > '2030-01-01'"
        assert rows(backup, readers) == [("user_2",)]
        assert content(url) == ours
        after = content(backup)
        again = chatsys(*command, "--yes")
        assert "0 messages, 0 message_deliveries, 0 message_reads" in again.stdout
        assert content(backup) == after


def test_rollback_needs_the_database_from_before_the_same_adoption(server: Server, original: Fill) -> None:
    url = original(20)
    with cut_over(server, url) as backup, server.database("template0") as other, server.database() as chat_of_ours:
        for target in (other, chat_of_ours):
            refused = chatsys("db", "rollback", "--to", target, "--yes", "--database-url", url)
            assert refused.returncode == 1
            assert "is not the original backend's database" in refused.stderr
        refused = chatsys("db", "rollback", "--to", backup, "--yes", "--database-url", chat_of_ours)
        assert "has no account in common" in refused.stderr
        refused = chatsys("db", "rollback", "--to", backup, "--yes", "--database-url", other)
        assert "has no chatsys schema" in refused.stderr


def test_rollback_is_refused_while_a_server_writes(server: Server, original: Fill) -> None:
    url = original(20)
    with cut_over(server, url) as backup:
        before = content(backup)
        rows(url, "INSERT INTO chat_servers (server_id, started_at, lease_until)"
                  " VALUES (gen_random_uuid(), now(), now() + interval '1 minute') RETURNING 1")  # fmt: skip
        refused = chatsys("db", "rollback", "--to", backup, "--yes", "--database-url", url)
        assert refused.returncode == 1
        assert "1 chat server with 0 sessions work on" in refused.stderr
        assert content(backup) == before


def test_restored_backup_of_the_original_names_the_adoption_command(
    server: Server, original: Fill, tmp_path: Path
) -> None:
    url, file = original(20), str(tmp_path / "before.dump")
    with server.database(read_url(url).database) as copy:
        assert chatsys("db", "backup", file, "--database-url", url).returncode == 0
        done = chatsys("db", "restore", file, "--yes", "--database-url", copy)
        assert "`chatsys db init` adopts them" in done.stdout, done.stderr
        assert chatsys("db", "init", "--database-url", copy).returncode == 0
