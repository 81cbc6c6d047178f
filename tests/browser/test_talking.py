"""Two people talk: what each sees of the other, from joining to logging out."""

from __future__ import annotations

import re
from collections.abc import Awaitable

import pytest
from playwright.async_api import expect

from tests.flow.serving import Served

from .conftest import Meet, Person

MARKUP = "<img src=x onerror=alert(1)> <b>bold</b> 👩‍👩‍👧 \u202eabc"


async def test_two_people_see_each_other_and_their_messages(served_on_each: Served, meet: Meet) -> None:
    alice, bob = await meet(served_on_each.url), await meet(served_on_each.url)
    await alice.register("alice")
    await expect(alice.at(".empty")).to_contain_text("Nothing was said")
    await bob.join_as_guest("Bob Ö.")
    await expect(alice.at("#people-title")).to_have_text("Here now, 2")
    await expect(alice.at("#people-list")).to_contain_text("guest")
    await bob.at("#text").press_sequentially("hel")
    await expect(alice.at("#typing")).to_have_text("Bob Ö. is typing…")
    await bob.say("hello")
    await expect(alice.at("#typing")).to_have_text("")
    await expect(alice.at("#say")).to_have_text("Bob Ö.: hello")
    await alice.say(MARKUP)
    await bob.say("two\nlines")
    for person in (alice, bob):
        await person.sees("hello", MARKUP, "two\nlines")
        assert await person.at(".log img, .log p b").count() == 0
    await expect(alice.message("hello").locator("header")).to_contain_text("Bob Ö.")
    await expect(bob.message("hello").locator("header")).to_contain_text("You")
    await expect(alice.message(MARKUP).locator(".state")).to_contain_text("read by 1")
    await expect(alice.message(MARKUP).locator(".state")).to_have_attribute("title", "Read by Bob Ö.")
    await bob.page.close()
    await expect(alice.at("#people-title")).to_have_text("Here now, 1")
    await expect(alice.at(".sys").last).to_contain_text("Bob Ö. left")


async def test_message_status_goes_from_sent_to_delivered_to_read(served: Served, meet: Meet) -> None:
    alice, bob = await meet(served.url), await meet(served.url)
    await alice.register("alice")
    await alice.say("first")
    mark = alice.at(".msg .state")
    await expect(mark).to_contain_text("sent")
    for number in range(40):
        await alice.say(f"filler {number}")
    await expect(alice.at(".wait")).to_have_count(0)
    await bob.join_as_guest("bob")
    await expect(mark.last).to_contain_text("read by 1")
    await bob.at("#log").evaluate("log => { log.scrollTop = 0 }")
    await expect(bob.at("#pill")).to_be_visible()
    await alice.say("further down")
    await expect(bob.at("#pill")).to_have_text("↓ 1 new message")
    await expect(mark.last).to_contain_text("delivered")
    await bob.at("#pill").click()
    await expect(mark.last).to_contain_text("read by 1")
    await expect(bob.at("#pill")).to_be_hidden()


async def test_other_rooms_count_new_messages_and_the_divider_stays(served_on_each: Served, meet: Meet) -> None:
    alice, bob = await meet(served_on_each.url), await meet(served_on_each.url, room="random")
    await alice.register("alice")
    await bob.join_as_guest("bob")
    await bob.say("known")
    await alice.go("random")
    await alice.sees("known")
    await expect(alice.at(".new")).to_have_count(0)
    await expect(bob.message("known").locator(".state")).to_contain_text("read by 1")
    await alice.go("general")
    for number in range(3):
        await bob.say(f"new {number}")
    room = alice.at("#your-rooms .room", has_text="random")
    await expect(room.locator(".n")).to_have_text("3 unread")
    await expect(alice.page).to_have_title(re.compile(r"^\(3\) general"))
    await alice.go("random")
    await alice.sees("known", "new 0", "new 1", "new 2")
    await bob.say("live")
    await expect(alice.message("live")).to_be_visible()
    shows = "row => row.className === 'new' ? '--' : row.querySelector('.said')?.textContent"
    rows = f"log => [...log.children].map({shows})"
    shown = [row for row in await alice.at("#log").evaluate(rows) if row]
    assert shown == ["known", "--", "new 0", "new 1", "new 2", "live"]
    await expect(room.locator(".n")).to_have_count(0)
    await expect(alice.page).to_have_title(re.compile(r"^random"))


async def test_search_finds_people_and_shows_their_card(served: Served, meet: Meet) -> None:
    alice = await meet(served.url)
    await alice.register("alice")
    await alice.page.keyboard.press("Control+k")
    await expect(alice.at("#search")).to_be_focused()
    await alice.page.keyboard.type("ALI")
    await expect(alice.at("#found")).to_contain_text("@alice")
    await alice.page.keyboard.press("ArrowDown")
    await alice.page.keyboard.press("Enter")
    await expect(alice.at("#person-card")).to_contain_text("Here since")
    await alice.check_accessibility()
    await alice.page.keyboard.press("Escape")
    await alice.at("#search").fill("100%_nobody")
    await expect(alice.at("#found")).to_contain_text("People, 0")


async def test_profile_and_password_can_be_changed(served_on_each: Served, meet: Meet) -> None:
    alice, bob = await meet(served_on_each.url), await meet(served_on_each.url)
    await alice.register("alice")
    await bob.join_as_guest("bob")
    await alice.at("#me").click()
    await alice.at("#profile [name=displayName]").fill("Alice in Chains")
    await alice.at("#profile [name=bio]").fill("<i>about</i>")
    await alice.at("#profile [name=newPassword]").fill("another secret")
    await alice.at("#profile .primary").click()
    await expect(alice.at("#profile .problem")).to_contain_text("give the current one")
    await alice.at("#profile [name=currentPassword]").fill("wrong")
    await alice.check_accessibility()
    await _fails(alice.at("#profile .primary").click(), alice, "Current password is incorrect")
    await alice.at("#profile [name=currentPassword]").fill("secret of alice")
    await alice.at("#profile [name=away]").check()
    await alice.at("#profile .primary").click()
    await expect(alice.at("#profile")).to_be_hidden()
    await expect(alice.at("#me")).to_contain_text("Alice in Chains")
    await expect(bob.at("#people-list")).to_contain_text("away since")
    await bob.at("#people-list button", has_text="alice").click()
    await expect(bob.at("#person-card")).to_contain_text("<i>about</i>")
    await alice.at("#me").click()
    await alice.at("#log-out").click()
    await alice.log_in("alice", "another secret")
    await alice.here()
    await expect(alice.at("#me")).to_contain_text("Alice in Chains")


async def test_account_and_its_messages_are_deleted_once_its_name_is_typed(served_on_each: Served, meet: Meet) -> None:
    alice, bob = await meet(served_on_each.url), await meet(served_on_each.url)
    await alice.register("alice")
    await bob.join_as_guest("bob")
    await alice.say("soon gone")
    await bob.sees("soon gone")
    await alice.at("#me").click()
    await alice.at("#delete-account").click()
    await alice.at("#deletion [name=username]").fill("bob")
    await alice.at("#deletion .primary").click()
    await expect(alice.at("#deletion .problem")).to_contain_text("not your user name, alice")
    await alice.check_accessibility()
    await alice.at("#deletion [name=username]").fill("alice")
    await alice.at("#deletion .primary").click()
    await expect(alice.at("#welcome-note")).to_have_text("Your account and your messages are deleted.")
    await expect(bob.at("#people-list")).not_to_contain_text("alice")
    await _fails(alice.log_in("alice"), alice, "Invalid credentials")
    cleo = await meet(served_on_each.url)
    await cleo.join_as_guest("cleo")
    assert await cleo.texts() == []


async def _fails(action: Awaitable[None], person: Person, words: str) -> None:
    """Expect an answer with an error status, which Chromium itself reports on the console."""
    person.faults.clear()
    await action
    await expect(person.at(".problem:visible")).to_contain_text(words)
    assert all("Failed to load resource" in fault for fault in person.faults), person.faults
    person.faults.clear()


async def test_refused_logins_and_registrations_say_why(served: Served, meet: Meet) -> None:
    alice = await meet(served.url)
    await alice.check_accessibility()
    await alice.at("#login [name=username]").fill("nobody")
    await alice.at("#login [name=password]").fill("nothing")
    await _fails(alice.at("#login button").click(), alice, "Invalid credentials")
    await alice.at("#tab-login").press("ArrowRight")
    await expect(alice.at("#tab-register")).to_be_focused()
    await _fails(alice.at("#register button").click(), alice, "Username is required")
    await expect(alice.at("#register .problem")).to_contain_text("Password is required")
    await alice.check_accessibility()
    await alice.at("#tab-register").press("ArrowRight")
    await alice.at("#guest button").click()
    await expect(alice.at("#guest .problem")).to_have_text("A name is required.")


async def test_reloaded_page_continues_its_session(served: Served, meet: Meet) -> None:
    bob = await meet(served.url)
    await bob.join_as_guest("bob")
    await bob.say("mine")
    await bob.sees("mine")
    await bob.at("#join-room").click()
    await bob.at("#room-dialog [name=room]").fill("a room/with ünusual #name?")
    await bob.check_accessibility()
    await bob.at("#room-dialog .primary").click()
    await bob.here("a room/with ünusual #name?")
    await bob.page.reload()
    await bob.here("a room/with ünusual #name?")
    await bob.page.go_back()
    await bob.here("general")
    await expect(bob.message("mine").locator("header")).to_contain_text("You")
    await bob.at("#me").click()
    await bob.at("#log-out").click()
    await bob.page.reload()
    await expect(bob.at("#welcome")).to_be_visible()


async def test_event_drawer_shows_events_without_the_token(served: Served, meet: Meet) -> None:
    alice = await meet(served.url)
    await alice.register("alice")
    await alice.say("watch me pass")
    await alice.at("#show-events").click()
    events = alice.at("#event-list")
    for name in ("join", "message-history", "room-users", "send-message", "receive-message"):
        await expect(events.locator("b", has_text=re.compile(f"^{name}$")).first).to_be_visible()
    await events.locator("summary", has_text="receive-message").first.click()
    await expect(events.locator("pre:visible")).to_contain_text('"message": "watch me pass"')
    await expect(events).to_contain_text("(your token)")
    token = await alice.page.evaluate("Object.values(localStorage).map(text => JSON.parse(text).token).find(Boolean)")
    assert token.count(".") == 2
    assert token not in await events.inner_text()
    await alice.check_accessibility()
    await alice.page.keyboard.press("Escape")
    await expect(alice.at("#events")).to_be_hidden()
    await expect(alice.at("#show-events")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 800, 400])
async def test_chat_page_fits_the_window_and_is_accessible(served: Served, meet: Meet, width: int, scheme: str) -> None:
    alice, bob = await meet(served.url, width=width, color_scheme=scheme), await meet(served.url)
    await bob.join_as_guest("Somebody-with-a-very-long-name-without-spaces")
    await bob.say("Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 3)
    await alice.register("alice")
    await alice.say("short")
    await expect(alice.message("short").locator(".state")).to_contain_text("read by 1")
    await alice.check_accessibility()
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await alice.page.evaluate(overflow) == 0
    for button, panel in (("#show-rooms", "#rooms"), ("#show-people", "#people")):
        if not await alice.at(button).is_visible():
            await expect(alice.at(panel)).to_be_visible()
            continue
        await expect(alice.at(panel)).to_be_hidden()
        await alice.at(button).press("Enter")
        await expect(alice.at(panel)).to_be_visible()
        await alice.check_accessibility()
        await alice.page.keyboard.press("Escape")
        await expect(alice.at(panel)).to_be_hidden()
        await expect(alice.at(button)).to_be_focused()


async def test_start_page_links_to_the_chat(served: Served, meet: Meet) -> None:
    alice = await meet(served.url)
    await alice.page.goto(served.url)
    await alice.check_accessibility()
    await alice.page.get_by_role("link", name="Open the chat").click()
    await expect(alice.at("#welcome")).to_be_visible()
