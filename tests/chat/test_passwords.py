"""Passwords: bcrypt, 72 bytes, and the same behaviour for a wrong password and a missing account."""

from __future__ import annotations

import bcrypt
import pytest

from chatsys.chat.passwords import Passwords


@pytest.fixture
def passwords(real_cost):
    with Passwords() as opened:
        yield opened


@pytest.mark.parametrize("password", ["secret", "x" * 100, "\U0001f600" * 100, "ä" * 37, "a\ud800b", " s p a c e "])
async def test_password_matches_only_its_own_hash(passwords, password):
    hashed = await passwords.hash(password)
    assert hashed.startswith("$2b$10$")
    assert await passwords.matches(password, hashed)
    assert not await passwords.matches("?" + password, hashed)


async def test_two_hashes_of_one_password_differ(passwords):
    assert await passwords.hash("secret") != await passwords.hash("secret")


async def test_first_72_bytes_count_even_if_they_end_inside_a_character(passwords):
    hashed = await passwords.hash("x" * 71 + "ä")
    assert await passwords.matches("x" * 71 + "ä" + "more", hashed)
    assert not await passwords.matches("x" * 71 + "z", hashed)


@pytest.mark.parametrize("prefix", [b"2a", b"2b"])
async def test_hashes_of_the_original_server_are_accepted(passwords, prefix):
    hashed = bcrypt.hashpw(b"old password", bcrypt.gensalt(4, prefix)).decode()
    assert await passwords.matches("old password", hashed)
    assert not await passwords.matches("new password", hashed)


@pytest.mark.parametrize("hashed", [None, "", "plain", "$2b$10$short", "\ud800"])
async def test_no_password_matches_an_unusable_hash(passwords, hashed):
    assert not await passwords.matches("decoy", hashed)
    assert not await passwords.matches("plain", hashed)
