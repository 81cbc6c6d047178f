"""Every setting of the server as one table, read once at the start. Nothing is read or opened on import.

Each field of :class:`Settings` is a row: the variable's name, its default, how its text is read, what is allowed, its
unit and its help. ``python -m chatsys.settings`` prints docs/SETTINGS.md from these rows.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import secrets
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from chatsys.errors import OperatorError, SettingsError

logger = logging.getLogger(__name__)

SECRET_BYTES = 32
SMALLEST_DB_POOL = 7
"""Connections: two for the bus, and the smallest pool of the store."""
_PREFIX = "CHATSYS_"
_LIFETIME_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LIFETIME_MAX = 100 * 365 * 86_400


@dataclass(frozen=True, slots=True)
class Kind:
    """How a setting's text becomes its value. ``allowed`` says what it accepts.

    The value of a ``hidden`` setting is never shown.
    """

    allowed: str
    accepts: Callable[[str], object] = bool
    made: Callable[[str], Any] = str
    unit: str = ""
    hidden: bool = False

    def read(self, text: str) -> Any:
        """The value of this text. Raises ValueError for one that is not allowed."""
        if not self.accepts(text):
            raise ValueError(text)
        return self.made(text)


@dataclass(frozen=True, slots=True)
class Row:
    """One setting as an operator sees it. Its ``old_name``, if it has one, is still accepted with a warning."""

    field: str
    name: str
    default: str
    kind: Kind
    about: str
    old_name: str = ""


def _whole(lowest: int, highest: int, unit: str = "") -> Kind:
    def accepts(text: str) -> bool:
        return bool(re.fullmatch(r"[0-9]{1,15}", text)) and lowest <= int(text) <= highest

    return Kind(f"a whole number from {lowest} to {highest}", accepts, int, unit)


def _seconds(lowest: float, highest: float) -> Kind:
    def accepts(text: str) -> bool:
        return bool(re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text)) and lowest <= float(text) <= highest

    return Kind(f"a number of seconds from {lowest:g} to {highest:g}", accepts, float, "seconds")


def _one_of(*choices: str) -> Kind:
    return Kind(" or ".join(choices), choices.__contains__)


def _url(*schemes: str) -> Kind:
    def accepts(text: str) -> object:
        return text.startswith(schemes) and urllib.parse.urlsplit(text)  # urlsplit raises ValueError

    return Kind("a URL that begins with " + ", ".join(schemes), accepts, hidden=True)


def _lifetime(text: str) -> timedelta:
    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)([smhdw])", text)
    if found is None:
        raise ValueError(text)
    seconds = float(found[1]) * _LIFETIME_UNITS[found[2]]
    if not 1 <= seconds <= _LIFETIME_MAX:
        raise ValueError(text)
    return timedelta(seconds=int(seconds))


_SWITCH = Kind("on or off", ("on", "off").__contains__, lambda text: text == "on")
_PATH = Kind("a path", made=Path)
_HOST = Kind("an IP address or a host name", re.compile(r"[A-Za-z0-9._:%-]+").fullmatch)
_ORIGIN = Kind(
    "one origin such as https://chat.example.org, or *", re.compile(r"\*|[a-z][a-z0-9+.-]*://[^\s/?#,]+").fullmatch
)
_LIFETIME = Kind("a number and a unit s, m, h, d or w, from 1s to 100 years", made=_lifetime)
_SECRET = Kind(
    f"at least {SECRET_BYTES} bytes",
    lambda text: len(text.encode("utf-8", "surrogateescape")) >= SECRET_BYTES,
    hidden=True,
)


def _setting(name: str, text: str | None, kind: Kind, about: str, *, unset: str = "unset", old_name: str = "") -> Any:
    """A row of the table. ``text`` is the default as the environment would give it; the documentation calls None
    ``unset``.
    """
    default = None if text is None else kind.read(text)
    return field(default=default, metadata={"row": (name, unset if text is None else text, kind, about, old_name)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one server process."""

    # fmt: off
    port: int = _setting("PORT", "3001", _whole(0, 65_535), "TCP port of HTTP and Socket.IO; 0 picks a free one.")
    host: str = _setting("CHATSYS_HOST", "0.0.0.0", _HOST,  # noqa: S104 - as the original: all interfaces
        "Address to listen on.")
    database_url: str | None = _setting("DATABASE_URL", None,
        _url("postgresql://", "postgres://", "embedded://", "memory://"),
        "The store: a PostgreSQL server, the memory store (`memory://`), or a private PostgreSQL that the program "
        "starts itself (`embedded://[path]`, and if unset).")
    db_pool_size: int = _setting("DB_POOL_SIZE", "20", _whole(SMALLEST_DB_POOL, 1000, "connections"),
        "Database connections of one server process: two for the bus, one for its lock. The others are divided between "
        "sends, sends that wait for a locked room, housekeeping and reads.")
    db_ssl: bool = _setting("DB_SSL", "false", Kind("true; any other text is false", made=lambda text: text == "true"),
        "Use TLS to the database; only `true` switches it on. Without a CA file, the certificate is not verified.")
    db_ssl_ca_file: Path | None = _setting("DB_SSL_CA_CERT_PATH", None, _PATH,
        "PEM file with the certificate authority of the database. If it can be read, the certificate is verified.")
    jwt_secret: str | None = _setting("JWT_SECRET", None, _SECRET,
        "The secret that signs tokens. If unset, the server creates a random one once, and keeps it in "
        "`.chatsys/jwt_secret`. Production needs its own secret.")
    jwt_previous_secret: str | None = _setting("JWT_SECRET_PREVIOUS", None, _SECRET,
        "The previous `JWT_SECRET`: tokens signed with it are still accepted, but it signs no new ones. Set it for one "
        "token lifetime when you change the secret.")
    jwt_lifetime: timedelta = _setting("JWT_EXPIRES_IN", "7d", _LIFETIME, "How long a token is valid.")
    cors_origin: str = _setting("CORS_ORIGIN", "*", _ORIGIN,
        "The origin whose pages may call the server.")
    bus_url: str | None = _setting("CHATSYS_BUS_URL", None,
        _url("redis://", "rediss://", "unix://", "nats://", "tls://"),
        "The bus between servers: Redis, or NATS (`tls://` for TLS), with user and password in the URL. Without it, "
        "servers use PostgreSQL's LISTEN/NOTIFY.", unset="REDIS_URL")
    redis_url: str | None = _setting("REDIS_URL", None, _url("redis://", "rediss://", "unix://"),
        "The bus if `CHATSYS_BUS_URL` is unset.")
    env: str = _setting("CHATSYS_ENV", "development", _one_of("development", "production"),
        "`production` refuses insecure defaults and does not log each request.")
    workers: int = _setting("CHATSYS_WORKERS", "1", _whole(1, 64, "processes"),
        "Server processes that share the port. With more than one, Socket.IO works only over WebSocket.")
    login_attempts: int = _setting("CHATSYS_LOGIN_ATTEMPTS", "10", _whole(1, 1_000_000, "logins"),
        "Failed logins for one account from one client address, after which further logins are refused.")
    login_window: float = _setting("CHATSYS_LOGIN_WINDOW", "900", _seconds(1, 86_400),
        "How long failed logins are remembered after the last one.")
    password_queue: int = _setting("CHATSYS_PASSWORD_QUEUE", "200", _whole(1, 100_000, "requests"),
        "Logins, registrations and password changes that may wait for a processor; any more get 503. The queue is fair "
        "between client addresses.")
    page_queue: int = _setting("CHATSYS_PAGE_QUEUE", "200", _whole(1, 100_000, "requests"),
        "Requests for messages, rooms and searches that may wait while four others run; any more get 503. The queue is "
        "fair between client addresses.")
    queue_timeout: float = _setting("CHATSYS_QUEUE_TIMEOUT", "10", _seconds(0.1, 600),
        "How long a request may wait in either of these two queues before it gets 503.")
    new_rooms: int = _setting("CHATSYS_NEW_ROOMS", "30", _whole(0, 1_000_000, "rooms"),
        "In production: rooms that one socket may create in a minute by joining them.")
    send_buffer_bytes: int = _setting("CHATSYS_SEND_BUFFER_BYTES", "2097152", _whole(65_536, 1_073_741_824, "bytes"),
        "Memory for data that waits for one connection only (answers, histories). Beyond it, the server closes the "
        "connection.")
    client_memory: int = _setting("CHATSYS_CLIENT_MEMORY", "536870912", _whole(16_777_216, 1_099_511_627_776, "bytes"),
        "Memory that the process holds for all clients together, including unfinished requests. Beyond it, the server "
        "closes a connection that needs more than an equal share.")
    connect_within: float = _setting("CHATSYS_CONNECT_WITHIN", "45", _seconds(1, 3600),
        "How long a connection may take to send its Socket.IO CONNECT before the server closes it.")
    unfinished_within: float = _setting("CHATSYS_UNFINISHED_WITHIN", "30", _seconds(1, 3600),
        "How long a client may take to finish a request, a message in fragments, or the attachments of an event. Then "
        "the server answers a request with 408, and closes the connection.")
    stalled_within: float = _setting("CHATSYS_STALLED_WITHIN", "30", _seconds(0.1, 3600),
        "How long a connection may read nothing while data waits for it, before the server closes it.")
    frames_per_iteration: int = _setting("CHATSYS_FRAMES_PER_ITERATION", "32", _whole(1, 100_000, "frames"),
        "Frames of one connection that the server handles in one iteration of the event loop.",
        old_name="CHATSYS_FRAMES_PER_TURN")
    fragments: int = _setting("CHATSYS_FRAGMENTS", "4096", _whole(1, 1_000_000, "frames"),
        "Frames into which a client may split one message. With more, the server closes the connection.")
    attachments: int = _setting("CHATSYS_ATTACHMENTS", "10", _whole(0, 1000, "attachments"),
        "Binary attachments that one event may have. With more, the server closes the connection.")
    large_room: int = _setting("CHATSYS_LARGE_ROOM", "1000", _whole(100, 1_000_000, "sessions"),
        "Sessions above which a room is large: its clients get no event for each join, leave, status and typing, and "
        "the receipts of one message come together.")
    join_bytes: int = _setting("CHATSYS_JOIN_BYTES", "2097152", _whole(1024, 1_073_741_824, "bytes"),
        "Size of the history that a join returns. A longer history is cut to its newest messages, at least one.")
    page_bytes: int = _setting("CHATSYS_PAGE_BYTES", "8388608", _whole(1024, 1_073_741_824, "bytes"),
        "Size of a page of `GET /api/rooms/:room/messages`. A longer page is cut to its newest messages, at least one.")
    metrics: bool = _setting("CHATSYS_METRICS", "on", _SWITCH, "Serve `/metrics`.")
    synchronous_commit: str = _setting("CHATSYS_SYNCHRONOUS_COMMIT", "on",
        _one_of("on", "off", "local", "remote_write", "remote_apply"),
        "Durability of writes: PostgreSQL's setting of that name. With `off`, a crash may lose the last writes.")
    statement_timeout: float = _setting("CHATSYS_STATEMENT_TIMEOUT", "3", _seconds(0.1, 3600),
        "How long one statement may run in the database. Soon after, the server closes its connection. Commands that "
        "work on the whole database have their own limits.")
    connect_timeout: float = _setting("CHATSYS_CONNECT_TIMEOUT", "4", _seconds(0.1, 600),
        "How long connecting to the database or to the bus may take.")
    write_queue: int = _setting("CHATSYS_WRITE_QUEUE", "10000", _whole(1, 10_000_000, "writes"),
        "Writes that may wait for the database; any more are refused with `store_unavailable`.")
    lease: float = _setting("CHATSYS_LEASE", "15", _seconds(1, 3600),
        "How long the sessions of a server that disappeared are kept.")
    data_dir: Path = _setting("CHATSYS_DATA_DIR", ".chatsys", _PATH,
        "Folder for the data of the private PostgreSQL and for the random JWT_SECRET.")
    snapshot: Path | None = _setting("CHATSYS_SNAPSHOT", None, _PATH,
        "With memory://: the snapshot file that the server loads at its start, and writes at its stop and on SIGUSR1.")
    ready_file: Path | None = _setting("CHATSYS_READY_FILE", None, _PATH,
        "File for a supervisor: the server writes its URL into it once it accepts connections, and removes it when it "
        "stops.")
    forwarded_allow_ips: str = _setting("CHATSYS_FORWARDED_ALLOW_IPS", "127.0.0.1",
        Kind("addresses or networks separated by commas, or *"),
        "Reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted.")
    log_format: str = _setting("CHATSYS_LOG_FORMAT", "text", _one_of("text", "json"),
        "Log lines for people, or one JSON object per line.")
    # fmt: on

    @property
    def production(self) -> bool:
        """Whether insecure defaults are refused and requests are not logged one by one."""
        return self.env == "production"


def rows() -> Iterator[Row]:
    """The table, in the order of the documentation."""
    for each in fields(Settings):
        yield Row(each.name, *each.metadata["row"])


def read_settings(
    overrides: Mapping[str, str | None] | None = None,
    environ: Mapping[str, str] | None = None,
    folder: Path = Path(),
    *,
    serving: bool = True,
) -> Settings:
    """The settings from ``overrides`` (by variable name; None means not given), else the environment, else ``.env``.

    An empty text means unset. Logs a warning for each old name that is used. Raises SettingsError for a value that is
    not allowed, for a ``CHATSYS_`` variable that does not exist, and in production for a missing JWT_SECRET, unless
    ``serving`` is false: a command that signs no token needs no secret.
    """
    written, environment = _dotenv(folder / ".env"), os.environ if environ is None else environ
    for old, name in _old_names().items():
        if written.get(old) or environment.get(old):
            logger.warning("The setting %s is now called %s. The old name still works.", old, name)
    given = {**_renamed(written), **_renamed(environment)}
    given.update({name: value for name, value in (overrides or {}).items() if value is not None})
    _refuse_unknown(given)
    values = {row.field: _read(row, given[row.name]) for row in rows() if given.get(row.name)}
    settings = Settings(**values)
    if serving and settings.production and settings.jwt_secret is None:
        raise SettingsError(
            "JWT_SECRET", "", f"production needs a secret of at least {SECRET_BYTES} bytes (openssl rand -hex 32)"
        )
    return settings


@dataclass(frozen=True, slots=True)
class Explained:
    """A setting in effect: its text with secrets hidden, its unit, and where it comes from."""

    name: str
    value: str
    unit: str
    origin: str


def explained(environ: Mapping[str, str] | None = None, folder: Path = Path()) -> list[Explained]:
    """Every setting with its value and its origin, in the order of the documentation.

    Raises SettingsError for a value that a server would refuse.
    """
    read_settings(None, environ, folder)
    given = _renamed(os.environ if environ is None else environ)
    written = _renamed(_dotenv(folder / ".env"))
    found = []
    for row in rows():
        origin = "environment" if given.get(row.name) else ".env" if written.get(row.name) else "default"
        text = given.get(row.name) or written.get(row.name) or row.default
        found.append(Explained(row.name, _shown(row, text) if origin != "default" else text, row.kind.unit, origin))
    return found


def _shown(row: Row, text: str) -> str:
    """The value with its secret hidden: the password of an address, or the whole of any other hidden value."""
    if not row.kind.hidden:
        return text
    parts = urllib.parse.urlsplit(text)
    if not parts.scheme or "://" not in text:
        return "(hidden)"
    user, at, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    query = re.sub(r"(?i)((?:^|&)[^=&]*pass[^=&]*=)[^&]*", r"\1(hidden)", parts.query)
    netloc = f"{name}{':(hidden)' if colon else ''}{at}{host}"
    return urllib.parse.urlunsplit(parts._replace(netloc=netloc, query=query))


def token_secret(settings: Settings) -> str:
    """``jwt_secret``, or the random secret in the data folder, which the first call creates with mode 0600."""
    if settings.jwt_secret is not None:
        return settings.jwt_secret
    path = settings.data_dir / "jwt_secret"
    try:
        if not path.exists():
            _make_secret(path)
        secret = path.read_text("ascii").strip()
    except (OSError, UnicodeError) as error:
        raise OperatorError(
            f"The token secret in {path} can't be read or created: {error}.", hint="Set JWT_SECRET, or fix the folder."
        ) from error
    if len(secret) < SECRET_BYTES:
        raise OperatorError(f"The token secret in {path} is damaged.", hint=f"Remove it with `rm {path}`.")
    return secret


def markdown() -> str:
    """The page docs/SETTINGS.md."""
    lines = [
        "# Settings",
        "",
        "The server reads these environment variables once, at its start. It also reads a `.env` file in the working",
        "directory; the environment takes precedence. An empty value means unset. The server refuses to start with a",
        "value that is not allowed, or with a `CHATSYS_` variable that is not in this table. It still accepts the old",
        "name of a setting, and logs a warning.",
        "",
        "| variable | default | unit | allowed | |",
        "|---|---|---|---|---|",
        *map(_line, rows()),
        "",
    ]
    return "\n".join(lines)


def _line(row: Row) -> str:
    about = f"{row.about} Old name: `{row.old_name}`." if row.old_name else row.about
    return f"| `{row.name}` | `{row.default}` | {row.kind.unit} | {row.kind.allowed} | {about} |"


def _old_names() -> dict[str, str]:
    """Old name -> present name."""
    return {row.old_name: row.name for row in rows() if row.old_name}


def _renamed(given: Mapping[str, str]) -> dict[str, str]:
    """The variables with their present names. A present name takes precedence over an old one."""
    old = _old_names()
    found = {old[name]: text for name, text in given.items() if name in old}
    return found | {name: text for name, text in given.items() if name not in old}


def _dotenv(path: Path) -> dict[str, str]:
    try:
        return {name: value or "" for name, value in dotenv_values(path, interpolate=False).items()}
    except (OSError, UnicodeError) as error:
        raise OperatorError(f"{path} can't be read: {error}.", hint="Fix it or move it away.") from error


def _refuse_unknown(given: Mapping[str, str]) -> None:
    known = [row.name for row in rows()]
    for name in sorted(given):
        if name.startswith(_PREFIX) and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise SettingsError(name, given[name], f"there is no such setting; the nearest name is {nearest}")


def _read(row: Row, text: str) -> Any:
    try:
        return row.kind.read(text)
    except ValueError as error:
        raise SettingsError(row.name, "(hidden)" if row.kind.hidden else text, row.kind.allowed) from error


def _make_secret(path: Path) -> None:
    """Write a new secret beside ``path`` and link it there, so that two servers that start at once share one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(SECRET_BYTES))
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink(missing_ok=True)


if __name__ == "__main__":
    print(markdown(), end="")
