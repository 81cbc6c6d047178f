"""The audit against a server that commits one fault on purpose, from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtests.audit import history
from tests.loadtests.conftest import locust, serving

FAULTS = {"dropped": "dropped", "doubled": "doubled", "swapped": "swapped", "unstored": "not_stored"}
ALL = ("dropped", "doubled", "swapped", "renumbered", "not_stored", "not_acknowledged")


class CutPages:
    """A server whose pages hold three messages of ten, however many are asked for."""

    def request(self, method: str, path: str) -> tuple[int, bytes, float]:
        offset = int(path.rpartition("offset=")[2])
        newest = 10 - offset
        data = [{"id": f"{seq}", "seq": seq, "message": "x"} for seq in range(max(1, newest - 2), newest + 1)]
        more = {"truncated": True, "nextOffset": offset + 3} if newest > 3 else {}
        return 200, json.dumps({"success": True, "data": data, **more}).encode(), 1.0


def test_the_audit_goes_on_where_a_page_was_cut() -> None:
    assert [message.seq for message in history(CutPages(), "tea", 2)] == [10, 9, 8, 7, 6, 5, 4, 3]  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", FAULTS)
def test_the_audit_catches_it_and_names_it_and_the_run_fails(fault: str, tmp_path: Path) -> None:
    with serving("chat_server", fault) as address:
        done = locust(
            *("--host", address, "--users", "10", "--run-time", "4", "--interval", "1", "--tags", "send", "typing"),
            *("--spawn-rate", "100", "--out", str(tmp_path), "--accounts", str(tmp_path / "accounts.json")),
        )
    result = json.loads((tmp_path / "locust.json").read_text())
    total = result["audit"]["total"]
    assert total["sent"] > 10, done.stdout
    found = {name for name in ALL if total[name]}
    assert found == {FAULTS[fault]}, done.stdout
    assert result["audit"]["examples"]
    assert (result["verdict"], done.returncode) == ("FAILED", 1)
