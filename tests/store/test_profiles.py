"""Senders' profiles are cached between pages, and no page shows an outdated one."""

from __future__ import annotations

import asyncio
import random

import psycopg
import pytest

from chatsys.model.values import UserChanges
from chatsys.store.postgres import profiles
from chatsys.store.postgres.statements import statements

RENAME = "UPDATE users SET display_name = %s WHERE user_id = %s"


async def names(store, room: str = "tea") -> list[str]:
    return [message.display_name for message in await store.history(room, 100)]


def version(url: str) -> object:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT version FROM profiles_version").fetchone()


@pytest.fixture
async def ann(pg, hands):
    """An account that has sent a message to "tea", of which a page has been read."""
    ann = await hands.account(pg)
    await pg.post_message(hands.new_message(ann))
    await pg.post_message(hands.new_message(hands.guest()))
    assert await names(pg) == ["ann", "gus"]
    return ann


async def test_second_page_does_not_look_senders_up(pg, ann, postgres_url):
    page = await pg.history("tea", 100)
    assert pg._profiles == {ann.user_id: ("ann", "ann", "")}
    assert page == await pg.history("tea", 99)
    with psycopg.connect(postgres_url) as connection:
        connection.execute(f"PREPARE page AS {statements()['history'].text}".encode())
        for known, names_of_accounts in ((pg._profiles.version, {None}), ("", {"ann"})):
            found = connection.execute(f"EXECUTE page ('tea', '{known}', 1000000)").fetchall()
            assert {row[4] for row in found if row[3] == ann.user_id} == names_of_accounts


async def test_change_on_another_server_is_seen_at_once(pg, ann, postgres_url, hands):
    async with hands.opened(postgres_url) as other:
        assert await names(other) == ["ann", "gus"]
        for name in ("Ann 1", "Ann 2"):
            await other.update_user(ann.user_id, UserChanges(display_name=name))
            assert await names(pg) == await names(other) == [name, "gus"]
            assert pg._profiles == other._profiles == {ann.user_id: ("ann", name, "")}


@pytest.mark.parametrize("column", ["username", "display_name", "avatar"])
async def test_change_by_sql_is_seen_only_after_its_commit(pg, ann, postgres_url, column):
    def shown(page):
        return {"username": page[0].username, "display_name": page[0].display_name, "avatar": page[0].avatar}[column]

    with psycopg.connect(postgres_url) as connection:
        connection.execute(f"UPDATE users SET {column} = 'changed'")
        assert shown(await pg.history("tea", 100)) == getattr(ann, column)
        connection.commit()
        assert shown(await pg.history("tea", 100)) == "changed"
        connection.execute(f"UPDATE users SET {column} = 'not kept'")
        connection.rollback()
    assert shown(await pg.history("tea", 100)) == "changed"


async def test_change_after_a_rolled_back_savepoint_is_seen(pg, ann, postgres_url):
    with psycopg.connect(postgres_url) as connection:
        connection.execute("SAVEPOINT here")
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        connection.execute(RENAME, ("undone", ann.user_id))
        connection.execute("ROLLBACK TO here")
        connection.execute(RENAME, ("done", ann.user_id))
    assert await names(pg) == ["done", "gus"]


async def test_open_transaction_that_changes_a_profile_blocks_no_other_change(pg, ann, postgres_url, hands):
    bob = await hands.account(pg, "bob")
    with psycopg.connect(postgres_url) as connection:
        connection.execute(RENAME, ("later", ann.user_id))
        await asyncio.wait_for(pg.update_user(bob.user_id, UserChanges(display_name="Bob")), 30)
        await pg.post_message(hands.new_message(bob))
        assert await names(pg) == ["ann", "gus", "Bob"]
    assert await names(pg) == ["later", "gus", "Bob"]


async def test_change_is_seen_in_a_room_that_was_not_read_since(pg, ann, hands):
    bob = await hands.account(pg, "bob")
    for room in ("cake", "pie"):
        await pg.post_message(hands.new_message(bob if room == "pie" else ann, room))
        await names(pg, room)
    await pg.update_user(ann.user_id, UserChanges(display_name="Ann"))
    assert await names(pg, "pie") == ["bob"]
    assert await names(pg, "cake") == ["Ann"]


async def test_change_outside_the_profile_keeps_the_version(pg, ann, postgres_url, hands):
    before = version(postgres_url)
    await pg.set_online(ann.user_id, True, hands.now())
    await pg.record_login(ann.user_id, hands.now())
    await pg.update_user(ann.user_id, UserChanges(bio="tea", password_hash="y", display_name="ann"))
    assert version(postgres_url) == before
    await pg.update_user(ann.user_id, UserChanges(avatar="https://example.org/a.png"))
    assert version(postgres_url) != before


async def test_account_deletion_changes_the_version(pg, postgres_url, hands):
    bob = await hands.account(pg, "bob")
    before = version(postgres_url)
    await pg.delete_user(bob.user_id, hands.now())
    assert version(postgres_url) != before


async def test_new_sender_on_a_page_is_looked_up(pg, ann, hands, observed):
    bob = await hands.account(pg, "bob")
    await pg.post_message(hands.new_message(bob))
    for needed in (2, 1):
        observed.clear()
        assert await names(pg) == ["ann", "gus", "bob"]
        assert observed.counts["statement"] == needed


async def test_profile_cache_is_limited(pg, ann, hands, monkeypatch):
    monkeypatch.setattr(profiles, "MOST_CHARACTERS", 20)
    for number in range(10):
        await pg.post_message(hands.new_message(await hands.account(pg, f"user{number}"), room=f"room{number}"))
        for room in ("tea", f"room{number}"):
            assert (await pg.history(room, 100))[0].display_name in ("ann", f"user{number}")
            assert sum(len("".join(profile)) for profile in pg._profiles.values()) <= 30


async def test_missing_version_makes_every_page_look_up_its_senders(pg, ann, postgres_url):
    with psycopg.connect(postgres_url) as connection:
        connection.execute("DELETE FROM profiles_version")
    for name in ("one", "two"):
        with psycopg.connect(postgres_url) as connection:
            connection.execute(RENAME, (name, ann.user_id))
        assert await names(pg) == [name, "gus"]


async def test_pages_never_show_a_profile_older_than_their_request(pg, postgres_url, hands):
    """A page requested after a change has returned shows that change or a later one, through either server."""
    async with hands.opened(postgres_url) as other:
        people = [await hands.account(pg, f"user{number}") for number in range(6)]
        order = {who.user_id: ["0"] for who in people}
        for who in people:
            await pg.update_user(who.user_id, UserChanges(display_name="0"))
            for room in ("tea", "cake"):
                await pg.post_message(hands.new_message(who, room))
                await pg.post_message(hands.new_message(who, room))

        async def change(number: int) -> None:
            rng = random.Random(number)
            who = people[number].user_id
            for count in range(1, 40):
                await rng.choice((pg, other)).update_user(who, UserChanges(display_name=str(count)))
                order[who].append(str(count))

        async def read(number: int) -> int:
            rng, pages = random.Random(number), 0
            while len(order[people[0].user_id]) < 40:
                done = {who: len(names) - 1 for who, names in order.items()}
                page = await rng.choice((pg, other)).history(rng.choice(("tea", "cake")), 100)
                shown: dict[str, set[int]] = {}
                for message in page:
                    shown.setdefault(message.user_id, set()).add(int(message.display_name))
                assert all(len(names) == 1 for names in shown.values())
                assert all(min(names) >= done[who] for who, names in shown.items())
                pages += 1
            return pages

        *_, pages = await asyncio.gather(*map(change, range(6)), *map(read, range(6)))
        assert pages > 0


async def test_pages_stay_correct_while_senders_are_deleted(pg, hands):
    people = [await hands.account(pg, f"user{number}") for number in range(20)]
    for who in people:
        await pg.post_message(hands.new_message(who))

    async def forget() -> None:
        for who in people[:-1]:
            assert await pg.delete_user(who.user_id, hands.now()) == []

    async def read() -> None:
        for _ in range(50):
            assert (await names(pg))[-1] == "user19"

    await asyncio.gather(forget(), read(), read())
    assert await names(pg) == ["user19"]
