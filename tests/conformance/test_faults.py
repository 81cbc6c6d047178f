"""A check fails when the server has the fault it looks for, and the report names the right section."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from chatsys.lab.conformance import report, runner
from chatsys.lab.conformance.check import CHECKS, Check, CheckResult, Outcome, chosen
from chatsys.lab.conformance.checks import all_checks

from .faults import FAULTS, answers, status
from .standin import Fault, Reply, standing_in

all_checks()


def _quiet(_ended: int, _all: int, _name: str) -> None:
    pass


async def judged(url: str, *names: str) -> list[CheckResult]:
    """Return the results of these checks."""
    return (await runner.run(url, [CHECKS[name] for name in names], "websocket", _quiet)).results


@pytest.mark.parametrize("what", FAULTS)
async def test_fault_is_reported_under_its_section(sound_url: str, what: str) -> None:
    section, name, fault = FAULTS[what]
    async with standing_in(sound_url, fault) as stand_in:
        (result,) = await judged(stand_in.url, name)
    assert (result.check.section, result.outcome) == (section, Outcome.failed)
    assert result.reason
    assert any(line.startswith("> ") for line in result.exchange)
    assert any(line.startswith("< ") for line in result.exchange)


async def test_checks_pass_without_a_fault(sound_url: str) -> None:
    names = dict.fromkeys(name for _, name, _ in FAULTS.values())
    async with standing_in(sound_url, Fault()) as stand_in:
        results = await judged(stand_in.url, *names)
    assert [(result.check.name, result.reason) for result in results if result.outcome is not Outcome.passed] == []


async def test_failure_shows_what_was_sent_and_received(sound_url: str) -> None:
    section, name, fault = FAULTS["profile with email"]
    async with standing_in(sound_url, fault) as stand_in:
        found = await runner.run(stand_in.url, [CHECKS[name]], "websocket", _quiet)
    text = report.as_text(found)
    assert f"FAILED §{section} {name}\n" in text
    assert "user has unexpected keys: email" in text
    assert "> GET /api/users/" in text
    assert '"email": "ann@example.org"' in text
    assert found.prefix in text


async def test_no_check_passes_when_every_answer_is_an_error() -> None:
    """This is the simplest proof that each check can fail."""

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"detail": "broken"}, status=500)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    server = web.AppRunner(app, access_log=None)
    await server.setup()
    try:
        site = web.TCPSite(server, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{server.addresses[0][1]}"
        found = await runner.run(url, chosen(CHECKS.values(), []), "websocket", _quiet)
    finally:
        await server.cleanup()
    assert [result.check.name for result in found.results if result.outcome is Outcome.passed] == []
    apart = [result.check for result in found.results if result.outcome is Outcome.not_applicable]
    assert [check.name for check in apart if not (check.additions or check.after)] == []


def _names(risky: list[Check]) -> list[str]:
    return [check.name for check in risky]


async def test_risky_request_is_skipped_after_the_harmless_one_failed(sound_url: str) -> None:
    risky = [check for check in CHECKS.values() if check.after == "an_unknown_user_is_404"]
    async with standing_in(sound_url, status("GET", "/api/users/0000", 404, 200)) as stand_in:
        results = await judged(stand_in.url, *_names(risky))
    assert {result.outcome for result in results} == {Outcome.not_applicable}
    assert all("not sent: the server did not pass an_unknown_user_is_404" in result.reason for result in results)
    assert [line for line in stand_in.requests if line.endswith(("/api/users/5", "/api/users/search"))] == []


async def test_checks_of_additions_do_not_apply_to_a_server_without_them(sound_url: str) -> None:
    names = [check.name for check in CHECKS.values() if check.additions]
    async with standing_in(sound_url, _without_additions()) as stand_in:
        results = await judged(stand_in.url, *names)
    assert {result.outcome for result in results} == {Outcome.not_applicable}
    assert {result.reason for result in results} == {"the server does not speak the additions of §14"}


def _without_additions() -> Fault:
    def event(memory: dict[str, object], name: str, arguments: list[object]) -> list[tuple[str, list[object]]]:
        if name == "receive-message" and isinstance(arguments[0], dict):
            arguments = [{key: value for key, value in arguments[0].items() if key != "seq"}]
        return [(name, arguments)]

    return Fault(event=event, ack=lambda _found: None)


async def test_server_that_stops_answering_ends_the_run_and_is_named(sound_url: str) -> None:
    """The checker sends nothing more, and the last check that found the server alive reports the failure."""
    gone = asyncio.Event()

    def leave(reply: Reply) -> None:
        if reply.path == "/api/users/5":
            gone.set()

    names = ["an_unknown_user_is_404", "an_id_that_is_no_uuid_is_404", "the_bare_search_path_is_404"]
    async with standing_in(sound_url, answers("GET", "/api/users/", leave)) as stand_in:
        run = asyncio.create_task(judged(stand_in.url, *names))
        stopping = asyncio.create_task(gone.wait())
        await asyncio.wait((run, stopping), return_when=asyncio.FIRST_COMPLETED)
        await stand_in.stop()
        first, second, third = await run
    assert first.outcome is Outcome.passed
    assert second.outcome is Outcome.failed
    assert second.reason.endswith("; the server no longer answers")
    assert third.outcome is Outcome.not_applicable
    assert "stopped answering during an_id_that_is_no_uuid_is_404" in third.reason


async def test_check_that_takes_too_long_fails(sound_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless(_probe: object) -> None:
        await asyncio.sleep(60)

    slow = Check(section="1.1", name="endless", proves=("",), body=endless, within=0.1)
    monkeypatch.setitem(CHECKS, "endless", slow)
    (result,) = await judged(sound_url, "endless")
    assert (result.outcome, result.reason) == (Outcome.failed, "the check did not end within 0.1 s")


async def test_checks_left_when_the_run_times_out_have_failed(sound_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "RUN_LIMIT", -1.0)
    (result,) = await judged(sound_url, "health_shows_the_time")
    assert result.outcome is Outcome.failed
    assert "not run: the run reached its limit" in result.reason
