"""Settings: one table, read once; a refusal names the allowed values."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from chatsys.errors import OperatorError, SettingsError
from chatsys.settings import Settings, explained, markdown, read_settings, rows, token_secret
from tests.db.conftest import chatsys

ROOT = Path(__file__).resolve().parents[2]
SECRET = "x" * 32


def read(folder: Path, **environ: str) -> Settings:
    return read_settings(environ=environ, folder=folder)


def test_without_variables_every_setting_has_its_default(tmp_path):
    assert read(tmp_path) == Settings()


def test_contract_names_these_defaults():
    given = Settings()
    assert (given.port, given.host, given.database_url) == (3001, "0.0.0.0", None)
    assert (given.db_pool_size, given.db_ssl, given.db_ssl_ca_file) == (20, False, None)
    assert (given.jwt_secret, given.jwt_lifetime) == (None, timedelta(days=7))
    assert (given.cors_origin, given.env, given.redis_url) == ("*", "development", None)


GOOD = [
    ("PORT", "0", "port", 0),
    ("PORT", "65535", "port", 65535),
    ("PORT", "", "port", 3001),
    ("DATABASE_URL", "memory://", "database_url", "memory://"),
    ("DATABASE_URL", "postgres://u:p@h/db", "database_url", "postgres://u:p@h/db"),
    ("DATABASE_URL", "embedded:///var/chat", "database_url", "embedded:///var/chat"),
    ("DB_SSL", "true", "db_ssl", True),
    ("DB_SSL", "1", "db_ssl", False),
    ("DB_SSL", "TRUE", "db_ssl", False),
    ("DB_SSL_CA_CERT_PATH", "/etc/ca.pem", "db_ssl_ca_file", Path("/etc/ca.pem")),
    ("JWT_SECRET", SECRET, "jwt_secret", SECRET),
    ("JWT_SECRET", "é" * 16, "jwt_secret", "é" * 16),
    ("JWT_EXPIRES_IN", "90s", "jwt_lifetime", timedelta(seconds=90)),
    ("JWT_EXPIRES_IN", "15m", "jwt_lifetime", timedelta(minutes=15)),
    ("JWT_EXPIRES_IN", "1.5h", "jwt_lifetime", timedelta(minutes=90)),
    ("JWT_EXPIRES_IN", "2w", "jwt_lifetime", timedelta(days=14)),
    ("CORS_ORIGIN", "https://chat.example.org:8443", "cors_origin", "https://chat.example.org:8443"),
    ("REDIS_URL", "redis://localhost:6379/0", "redis_url", "redis://localhost:6379/0"),
    ("CHATSYS_BUS_URL", "nats://u:p@localhost:4222", "bus_url", "nats://u:p@localhost:4222"),
    ("CHATSYS_ENV", "development", "env", "development"),
    ("CHATSYS_METRICS", "off", "metrics", False),
    ("CHATSYS_LEASE", "2.5", "lease", 2.5),
    ("CHATSYS_DATA_DIR", "/var/lib/chat", "data_dir", Path("/var/lib/chat")),
]


@pytest.mark.parametrize(("name", "text", "field", "value"), GOOD)
def test_valid_value_is_read(tmp_path, name, text, field, value):
    assert getattr(read(tmp_path, **{name: text}), field) == value


BAD = [
    ("PORT", "65536"),
    ("PORT", "-1"),
    ("PORT", "80x"),
    ("PORT", "٣"),
    ("DATABASE_URL", "mysql://localhost/chat"),
    ("DATABASE_URL", "postgresql://[::1/chat"),
    ("DB_POOL_SIZE", "0"),
    ("DB_POOL_SIZE", "many"),
    ("JWT_SECRET", "x" * 31),
    ("JWT_EXPIRES_IN", "7"),
    ("JWT_EXPIRES_IN", "0s"),
    ("JWT_EXPIRES_IN", "7 days"),
    ("JWT_EXPIRES_IN", "999999w"),
    ("CORS_ORIGIN", "https://a.org,https://b.org"),
    ("CORS_ORIGIN", "https://a.org/path"),
    ("CORS_ORIGIN", "a.org\r\nx: y"),
    ("REDIS_URL", "localhost:6379"),
    ("REDIS_URL", "nats://localhost:4222"),
    ("CHATSYS_BUS_URL", "amqp://localhost"),
    ("CHATSYS_ENV", "prod"),
    ("CHATSYS_HOST", "a b"),
    ("CHATSYS_LOGIN_ATTEMPTS", "0"),
    ("CHATSYS_METRICS", "yes"),
    ("CHATSYS_LOG_FORMAT", "xml"),
    ("CHATSYS_SYNCHRONOUS_COMMIT", "maybe"),
    ("CHATSYS_SEND_BUFFER_BYTES", "1"),
    ("CHATSYS_STATEMENT_TIMEOUT", "inf"),
]


@pytest.mark.parametrize(("name", "text"), BAD)
def test_invalid_value_is_refused_with_its_name_and_what_is_allowed(tmp_path, name, text):
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, **{name: text})
    (row,) = [row for row in rows() if row.name == name]
    assert caught.value.name == name
    assert caught.value.allowed == row.kind.allowed
    assert caught.value.value == ("(hidden)" if row.kind.hidden else text)
    assert name in caught.value.message
    assert row.kind.allowed in caught.value.message


def test_secret_or_a_password_is_never_shown(tmp_path):
    for name, text in [("JWT_SECRET", "short"), ("DATABASE_URL", "mysql://me:pass@h/db"), ("REDIS_URL", "x://:pass@h")]:
        with pytest.raises(SettingsError) as caught:
            read(tmp_path, **{name: text})
        assert text not in caught.value.message
        assert "pass" not in caught.value.message


@pytest.mark.parametrize(
    ("unknown", "nearest"), [("CHATSYS_METRIC", "CHATSYS_METRICS"), ("CHATSYS_WINDOW", "CHATSYS_LOGIN_WINDOW")]
)
def test_unknown_variable_of_chatsys_is_refused_with_the_nearest_name(tmp_path, unknown, nearest):
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, **{unknown: "1", "HOME": "/", "PORTS": "x"})
    assert caught.value.name == unknown
    assert f"the nearest name is {nearest}" in caught.value.message


def test_production_refuses_to_start_without_a_secret(tmp_path):
    with pytest.raises(SettingsError, match="JWT_SECRET"):
        read(tmp_path, CHATSYS_ENV="production")
    assert read(tmp_path, CHATSYS_ENV="production", JWT_SECRET=SECRET).production


def test_dotenv_file_is_read_and_the_environment_and_options_win(tmp_path):
    (tmp_path / ".env").write_text("# chat\nPORT=4000\nexport DB_POOL_SIZE='7'\nJWT_SECRET=\"" + "a$b" * 16 + '"\n')
    assert read(tmp_path).port == 4000
    assert read(tmp_path).db_pool_size == 7
    assert read(tmp_path).jwt_secret == "a$b" * 16
    assert read(tmp_path, PORT="5000").port == 5000
    assert read_settings({"PORT": "6000"}, {"PORT": "5000"}, tmp_path).port == 6000
    assert read_settings({"PORT": None}, {"PORT": "5000"}, tmp_path).port == 5000


def test_dotenv_file_with_an_unknown_variable_is_refused(tmp_path):
    (tmp_path / ".env").write_text("CHATSYS_WORKER=2\n")
    with pytest.raises(SettingsError, match="CHATSYS_WORKERS"):
        read(tmp_path)


def test_old_name_of_a_setting_is_accepted_with_one_warning(tmp_path, caplog):
    old, name = "CHATSYS_FRAMES_PER_TURN", "CHATSYS_FRAMES_PER_ITERATION"
    assert read(tmp_path, **{old: "7"}).frames_per_iteration == 7
    (warning,) = caplog.messages
    assert (old in warning, name in warning) == (True, True)
    assert read(tmp_path, **{old: "7", name: "8"}).frames_per_iteration == 8
    shown = {each.name: each for each in explained({old: "7"}, tmp_path)}
    assert (shown[name].value, shown[name].origin) == ("7", "environment")
    with pytest.raises(SettingsError, match=name):
        read(tmp_path, **{old: "many"})


def test_old_name_in_the_dotenv_file_gives_way_to_the_environment(tmp_path, caplog):
    (tmp_path / ".env").write_text("CHATSYS_FRAMES_PER_TURN=7\n")
    assert read(tmp_path).frames_per_iteration == 7
    assert read(tmp_path, CHATSYS_FRAMES_PER_ITERATION="8").frames_per_iteration == 8
    assert [each.levelname for each in caplog.records] == ["WARNING"] * 2
    (shown,) = [each for each in explained({}, tmp_path) if each.name == "CHATSYS_FRAMES_PER_ITERATION"]
    assert (shown.value, shown.origin) == ("7", ".env")


def test_present_name_is_not_warned_about(tmp_path, caplog):
    read(tmp_path, CHATSYS_FRAMES_PER_ITERATION="8")
    assert caplog.messages == []


def test_dotenv_file_that_is_not_text_is_refused_by_name(tmp_path):
    (tmp_path / ".env").write_bytes(b"PORT=\xff\xfe\n")
    with pytest.raises(OperatorError, match=r"\.env"):
        read(tmp_path)


def test_random_secret_is_created_once_and_readable_only_by_its_owner(tmp_path):
    settings = Settings(data_dir=tmp_path / "data")
    first = token_secret(settings)
    assert len(first) >= 32
    assert token_secret(settings) == first
    assert token_secret(Settings(data_dir=tmp_path / "other")) != first
    assert stat.S_IMODE((tmp_path / "data" / "jwt_secret").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["jwt_secret"]


def test_servers_that_start_at_once_agree_on_one_secret(tmp_path):
    settings = Settings(data_dir=tmp_path)
    with ThreadPoolExecutor(16) as pool:
        secrets = set(pool.map(token_secret, [settings] * 64))
    assert len(secrets) == 1


def test_secret_file_that_is_damaged_or_cannot_be_made_is_named(tmp_path):
    (tmp_path / "jwt_secret").write_text("short")
    with pytest.raises(OperatorError, match="jwt_secret"):
        token_secret(Settings(data_dir=tmp_path))
    with pytest.raises(OperatorError, match="jwt_secret"):
        token_secret(Settings(data_dir=tmp_path / "jwt_secret"))


def test_each_setting_shows_its_value_and_its_origin(tmp_path):
    (tmp_path / ".env").write_text("PORT=4000\nDB_POOL_SIZE=30\n")
    given = {"PORT": "5000", "DATABASE_URL": "postgresql://me:word@h/x?sslpassword=word", "JWT_SECRET": SECRET}
    found = {each.name: each for each in explained(given, tmp_path)}
    assert list(found) == [row.name for row in rows()]
    assert (found["PORT"].value, found["PORT"].origin) == ("5000", "environment")
    assert (found["DB_POOL_SIZE"].value, found["DB_POOL_SIZE"].origin) == ("30", ".env")
    assert (found["CHATSYS_ENV"].value, found["CHATSYS_ENV"].origin) == ("development", "default")
    assert found["DATABASE_URL"].value == "postgresql://me:(hidden)@h/x?sslpassword=(hidden)"
    assert found["JWT_SECRET"].value == "(hidden)"
    with pytest.raises(SettingsError, match="PORT"):
        explained({"PORT": "80x"}, tmp_path)


@pytest.mark.parametrize("columns", ["60", "80", "120"])
def test_config_shows_no_secret(tmp_path, monkeypatch, columns):
    monkeypatch.chdir(tmp_path)
    given = {"DATABASE_URL": "postgresql://me:word@h/x", "JWT_SECRET": SECRET, "COLUMNS": columns}
    done = chatsys("config", **given)
    assert (done.returncode, done.stderr) == (0, "")
    assert max(len(line) for line in done.stdout.splitlines()[:-1]) <= int(columns)
    assert "word" not in done.stdout
    assert SECRET not in done.stdout
    objects = [json.loads(line) for line in chatsys("config", "--format", "json", **given).stdout.splitlines()]
    assert [each["name"] for each in objects] == [row.name for row in rows()]


@pytest.mark.process
def test_importing_the_settings_opens_and_reads_nothing():
    probe = (
        "import sys; seen = []; "
        "sys.addaudithook(lambda event, arguments: seen.append(arguments[0]) if event == 'open' else None);"
        "import chatsys.settings;"
        "print([path for path in seen if not str(path).endswith(('.py', '.pyc'))])"
    )
    environ = {**os.environ, "PORT": "not a port"}
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=environ, check=True)
    assert found.stdout.strip() == "[]"


def test_settings_page_is_generated_from_the_table():
    assert (ROOT / "docs" / "SETTINGS.md").read_text() == markdown(), "run `make docs`"


def test_every_setting_has_a_name_a_help_text_and_allowed_values():
    names = [row.name for row in rows()]
    old_names = [row.old_name for row in rows() if row.old_name]
    assert len({*names, *old_names}) == len(names) + len(old_names)
    for row in rows():
        assert row.about.endswith(".")
        assert row.kind.allowed
        assert row.default
