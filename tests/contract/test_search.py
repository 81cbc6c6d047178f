"""Substring search: literal, in any letter case, in order, limited."""

from __future__ import annotations

import asyncio

import pytest

from chatsys.model.values import UserChanges


async def names(store, text: str, limit: int = 50) -> list[str]:
    return [user.username for user in await store.search_users(text, limit)]


async def test_search_finds_a_part_of_the_username_or_display_name(store, cast):
    await cast.user("alice_w", display_name="Wonder Land")
    await cast.user("bob", display_name="Alicia")
    await cast.user("carol")
    assert await names(store, "alic") == ["alice_w", "bob"]
    assert await names(store, "er la") == ["alice_w"]
    assert await names(store, "e_w") == ["alice_w"]
    assert await names(store, "dave") == []


@pytest.mark.parametrize("text", ["A", "c", "ca", "CAR", "carol", "CAROL", "o", "ROL"])
async def test_search_ignores_letter_case_at_any_length(store, cast, text):
    await cast.user("CaRoL")
    assert await names(store, text) == ["CaRoL"]


@pytest.mark.parametrize(
    "sign", ["%", "_", "\\", "'", '"', "*", "?", ".", "(", "[", "$", "%%", "\\%", "a%b", "--", ";"]
)
async def test_search_gives_no_character_a_special_meaning(store, cast, sign):
    await cast.user("plain", display_name="nothing here")
    await cast.user("other", display_name=f"before {sign} after")
    assert await names(store, sign) == ["other"]
    assert await names(store, f"before {sign}") == ["other"]


async def test_search_matches_an_underscore_only_with_an_underscore(store, cast):
    await cast.user("a_b")
    await cast.user("axb")
    assert await names(store, "a_b") == ["a_b"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Ärger ÖL", "ärger öl"),
        ("straße", "STRA\u00dfE"),
        ("ПРИВЕТ", "привет"),
        ("Ελλάς", "ΕΛΛ"),
        ("ΟΔΟΣ", "οδοσ"),
        ("\u0130stanbul", "istanbul"),
        ("日本語", "本"),
        ("\U0001f600 smile", "\U0001f600"),
        ("e\u0301", "\u0301"),
        ("\U00010400 deseret", "\U00010428"),
    ],
)
async def test_search_folds_letters_of_other_alphabets_one_by_one(store, cast, name, text):
    await cast.user("someone", display_name=name)
    assert await names(store, text) == ["someone"]
    assert await names(store, name) == ["someone"]


@pytest.mark.parametrize(("name", "text"), [("straße", "strasse"), ("e\u0301", "\u00e9"), ("ΟΔΟΣ", "οδος")])
async def test_search_normalises_and_expands_nothing(store, cast, name, text):
    await cast.user("someone", display_name=name)
    assert await names(store, text) == []


async def test_search_results_are_limited_and_in_code_point_order_of_usernames(store, cast):
    for number, name in enumerate(("zed_x", "_x_", "Bob_x", "abe_x", "Abe_x", "0_x")):
        await cast.user(name, email=f"{number}@example.org")
    assert await names(store, "_x") == ["0_x", "Abe_x", "Bob_x", "_x_", "abe_x", "zed_x"]
    assert await names(store, "_x", 2) == ["0_x", "Abe_x"]
    assert await names(store, "_x", 0) == []


async def test_search_with_an_empty_text_finds_every_name(store, cast):
    for name in ("bob", "abe", "cat"):
        await cast.user(name)
    assert await names(store, "", 2) == ["abe", "bob"]


async def test_search_finds_a_changed_display_name_and_not_the_old_one(store, cast):
    ann = await cast.user("ann", display_name="Before")
    await store.update_user(ann.user_id, UserChanges(display_name="Later"))
    assert await names(store, "before") == []
    assert await names(store, "later") == ["ann"]


async def test_search_never_finds_guests(store, cast):
    await cast.join(cast.guest("visitor"), "general")
    assert await names(store, "visitor") == []
    assert await store.list_users(10) == []


async def test_search_ignores_emails(store, cast):
    await cast.user("ann", email="secret@hidden.example")
    assert await names(store, "hidden") == []


async def test_search_yields_to_other_tasks(store, cast, monkeypatch):
    monkeypatch.setattr("chatsys.store.memory.store.PART_SEARCHED", 2)
    everyone = [f"anyone{number}" for number in range(9)]
    for name in everyone:
        await cast.user(name)
    iterations = 0

    async def others() -> None:
        nonlocal iterations
        while True:
            iterations += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    found = await names(store, "anyone")
    beside.cancel()
    assert found == everyone
    assert iterations >= 4
    assert await names(store, "anyone", 5) == everyone[:5]
