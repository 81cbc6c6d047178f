"""The sources of releases and deployments: the changelog's notes, the image, its composition, .env.example."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from chatsys.settings import read_settings, rows

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {row.name for row in rows()}


def lines(name: str) -> list[str]:
    """Return the lines of a file that are no comments, with continued lines joined."""
    text = re.sub(r"\\\n", " ", (ROOT / name).read_text())
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def test_example_env_file_is_accepted_by_a_server(tmp_path: Path) -> None:
    environ = dict(line.split("=", 1) for line in lines(".env.example"))
    assert environ.keys() <= SETTINGS
    assert read_settings(environ=environ, folder=tmp_path).production


def test_image_runs_as_an_ordinary_user_and_has_a_health_check() -> None:
    last = lines("Dockerfile")[[line.split()[0] for line in lines("Dockerfile")].index("USER") :]
    assert last[0] == "USER chatsys"
    kinds = [line.split()[0] for line in last]
    assert {"HEALTHCHECK", "EXPOSE", "CMD"} <= set(kinds)
    assert not {"USER", "RUN"} & set(kinds[1:])
    (environ,) = (line for line in last if line.startswith("ENV "))
    own = set(re.findall(r"(CHATSYS_\w+)=", environ))
    assert own
    assert own <= SETTINGS


def test_image_sources_exist_and_reach_the_build() -> None:
    given = {line.removeprefix("!") for line in lines(".dockerignore") if line.startswith("!")}
    copied = [part for line in lines("Dockerfile") if line.startswith("COPY ") and "--from" not in line
              for part in line.split()[1:-1]]  # fmt: skip
    assert set(copied) == given
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_composition_uses_existing_settings_and_waits_for_health() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    server = services["server"]
    assert server["environment"].keys() <= SETTINGS
    assert server["read_only"]
    assert server["cap_drop"] == ["ALL"]
    for name, wanted in server["depends_on"].items():
        assert wanted == {"condition": "service_healthy"}
        assert "healthcheck" in services[name]


@pytest.mark.process
def test_release_has_its_notes_and_one_version(tmp_path: Path) -> None:
    import chatsys

    changelog = tmp_path / "changelog"
    changelog.write_text(
        f"# Changelog\n\n## [Unreleased]\n\n- later\n\n## [{chatsys.__version__}] - 2026-01-01\n\n### Added\n\n- this\n"
        "\n## [0.0.1]\n\n- before\n"
    )
    assert notes(f"v{chatsys.__version__}", changelog) == (0, "### Added\n\n- this")
    status, said = notes("v9.9.9", changelog)
    assert status == 1
    assert "does not have the version 9.9.9" in said
    changelog.write_text("# Changelog\n\n## [Unreleased]\n\n- later\n")
    status, said = notes(f"v{chatsys.__version__}", changelog)
    assert status == 1
    assert "says nothing" in said


def notes(tag: str, changelog: Path) -> tuple[int, str]:
    done = subprocess.run(
        [ROOT / ".ci" / "notes", tag],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"CHANGELOG": str(changelog), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    return done.returncode, done.stdout.strip()
