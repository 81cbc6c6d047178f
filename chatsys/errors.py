"""Every error of chatsys, each with a stable code and the data it carries.

The tree::

    ChatsysError                 chatsys_error
    ├── InvalidInput             validation_failed      errors
    │   ├── MalformedRequest     malformed_request
    │   └── RequestTooLarge      request_too_large
    ├── Unauthorized             unauthorized
    │   ├── TokenMissing         no_token
    │   ├── TokenInvalid         invalid_token
    │   │   └── TokenExpired         expired_token
    │   ├── InvalidCredentials   invalid_credentials
    │   └── WrongPassword        wrong_password
    ├── Forbidden                access_denied
    ├── NotFound                 not_found
    │   └── UserNotFound         user_not_found
    ├── Conflict                 conflict
    │   └── UserExists           user_exists
    ├── TooManyAttempts          too_many_attempts      retry_after
    ├── Overloaded               overloaded             (temporary: retry)
    ├── ClientGone               client_gone
    ├── JoinRefused              join_refused
    │   └── TooManyRooms         too_many_rooms
    ├── NoSession                no_session
    ├── StoreError               store_error
    │   ├── StoreUnavailable     store_unavailable      (temporary: retry)
    │   │   ├── ConnectionRefused    connection_refused
    │   │   ├── TooManyConnections   too_many_connections
    │   │   ├── StatementTimeout     statement_timeout
    │   │   ├── DatabaseSilent       database_silent
    │   │   ├── ServerShuttingDown   server_shutting_down
    │   │   └── WriteQueueFull       write_queue_full
    │   ├── HostNotFound         host_not_found
    │   ├── AuthenticationFailed authentication_failed
    │   ├── DatabaseMissing      database_missing
    │   ├── PermissionDenied     permission_denied
    │   ├── ExtensionNotAllowed  extension_not_allowed
    │   ├── DiskFull             disk_full
    │   ├── ReadOnlyDatabase     read_only_database
    │   ├── TlsFailed            tls_failed
    │   ├── SchemaMissing        schema_missing
    │   ├── SchemaOutdated       schema_outdated        found, expected
    │   ├── SchemaTooNew         schema_too_new         found, expected
    │   ├── UnsupportedServer    unsupported_server
    │   ├── BadDatabaseUrl       bad_database_url
    │   ├── SnapshotConflict     snapshot_conflict
    │   └── EmbeddedFailed       embedded_failed
    ├── SettingsError            bad_setting            name, value, allowed
    └── OperatorError            operator_error
        ├── BusUnavailable       bus_unavailable
        ├── MissingExtra         missing_extra          extra (an ImportError too)
        ├── SnapshotDamaged      snapshot_damaged
        └── LabBusy              lab_busy

The docstring of a class is its default message; an error may have a ``hint``, the command or action that
helps. This module imports no other module of chatsys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class ChatsysError(Exception):
    """Something went wrong in chatsys."""

    code: ClassVar[str] = "chatsys_error"

    def __init__(self, message: str | None = None, *, hint: str = "") -> None:
        self.message = message if message is not None else (type(self).__doc__ or "").strip()
        super().__init__(self.message)
        self.hint = hint
        if hint:
            self.add_note(f"Hint: {hint}")  # shown below a traceback, as in a notebook


class InvalidInput(ChatsysError):
    """Validation failed"""

    code = "validation_failed"

    def __init__(self, errors: tuple[str, ...] = (), message: str | None = None) -> None:
        super().__init__(message)
        self.errors = errors


class MalformedRequest(InvalidInput):
    """Malformed request"""

    code = "malformed_request"


class RequestTooLarge(InvalidInput):
    """request entity too large"""

    code = "request_too_large"


class Unauthorized(ChatsysError):
    """Unauthorized"""

    code = "unauthorized"


class TokenMissing(Unauthorized):
    """No token provided"""

    code = "no_token"


class TokenInvalid(Unauthorized):
    """Invalid or expired token"""

    code = "invalid_token"


class TokenExpired(TokenInvalid):
    """Invalid or expired token"""

    code = "expired_token"


class InvalidCredentials(Unauthorized):
    """Invalid credentials"""

    code = "invalid_credentials"


class WrongPassword(Unauthorized):
    """Current password is incorrect"""

    code = "wrong_password"


class Forbidden(ChatsysError):
    """Access denied. You can only modify your own profile."""

    code = "access_denied"


class NotFound(ChatsysError):
    """Not found"""

    code = "not_found"


class UserNotFound(NotFound):
    """User not found"""

    code = "user_not_found"


class Conflict(ChatsysError):
    """Conflict"""

    code = "conflict"


class UserExists(Conflict):
    """Username or email already exists"""

    code = "user_exists"


class TooManyAttempts(ChatsysError):
    """Too many failed login attempts"""

    code = "too_many_attempts"

    def __init__(self, retry_after: int) -> None:
        super().__init__()
        self.retry_after = retry_after


class Overloaded(ChatsysError):
    """Service temporarily unavailable"""

    code = "overloaded"


class ClientGone(ChatsysError):
    """The client closed its connection before the server answered"""

    code = "client_gone"


class JoinRefused(ChatsysError):
    """Failed to join room"""

    code = "join_refused"


class TooManyRooms(JoinRefused):
    """Too many new rooms in a minute"""

    code = "too_many_rooms"


class NoSession(ChatsysError):
    """Join a room first"""

    code = "no_session"


class StoreError(ChatsysError):
    """The store failed"""

    code = "store_error"


class StoreUnavailable(StoreError):
    """Service temporarily unavailable"""

    code = "store_unavailable"


class ConnectionRefused(StoreUnavailable):
    """Nothing answers at the database's address"""

    code = "connection_refused"


class TooManyConnections(StoreUnavailable):
    """The database has no free connection"""

    code = "too_many_connections"


class StatementTimeout(StoreUnavailable):
    """The database took longer than the statement timeout"""

    code = "statement_timeout"


class DatabaseSilent(StoreUnavailable):
    """The database did not answer in time"""

    code = "database_silent"


class ServerShuttingDown(StoreUnavailable):
    """The database is starting up or shutting down"""

    code = "server_shutting_down"


class WriteQueueFull(StoreUnavailable):
    """Too many writes are waiting for the database"""

    code = "write_queue_full"


class HostNotFound(StoreError):
    """The database's host name does not resolve"""

    code = "host_not_found"


class AuthenticationFailed(StoreError):
    """The database refused the user name or password"""

    code = "authentication_failed"


class DatabaseMissing(StoreError):
    """The database does not exist"""

    code = "database_missing"


class PermissionDenied(StoreError):
    """The database role lacks a right"""

    code = "permission_denied"


class ExtensionNotAllowed(StoreError):
    """The database role may not create an extension that chatsys needs"""

    code = "extension_not_allowed"


class DiskFull(StoreError):
    """The disk of the database is full"""

    code = "disk_full"


class ReadOnlyDatabase(StoreError):
    """The database is read-only or a standby"""

    code = "read_only_database"


class TlsFailed(StoreError):
    """TLS to the database failed"""

    code = "tls_failed"


class SchemaMissing(StoreError):
    """The database has no chatsys schema"""

    code = "schema_missing"


class SchemaOutdated(StoreError):
    """The database schema is older than this program"""

    code = "schema_outdated"

    def __init__(self, found: str, expected: str, *, hint: str = "") -> None:
        super().__init__(
            f"The database schema is at version {found}, but this program needs version {expected}.", hint=hint
        )
        self.found = found
        self.expected = expected


class SchemaTooNew(StoreError):
    """The database schema is newer than this program"""

    code = "schema_too_new"

    def __init__(self, found: str, expected: str, *, hint: str = "") -> None:
        super().__init__(
            f"The database schema is at version {found}, but this program knows no version after {expected}.", hint=hint
        )
        self.found = found
        self.expected = expected


class UnsupportedServer(StoreError):
    """This PostgreSQL version is not supported"""

    code = "unsupported_server"


class BadDatabaseUrl(StoreError):
    """The database URL is not usable"""

    code = "bad_database_url"


class SnapshotConflict(StoreError):
    """The store holds another record that conflicts with one in the snapshot"""

    code = "snapshot_conflict"


class EmbeddedFailed(StoreError):
    """The embedded PostgreSQL did not start"""

    code = "embedded_failed"


class SettingsError(ChatsysError):
    """A setting has a bad value"""

    code = "bad_setting"

    def __init__(self, name: str, value: str, allowed: str) -> None:
        super().__init__(f"{name}={value!r} is not allowed: {allowed}")
        self.name = name
        self.value = value
        self.allowed = allowed


class OperatorError(ChatsysError):
    """The command can't do what was requested"""

    code = "operator_error"


class BusUnavailable(OperatorError):
    """The bus between servers can't be used"""

    code = "bus_unavailable"


class MissingExtra(OperatorError, ImportError):
    """An extra of chatsys is not installed"""

    code = "missing_extra"

    def __init__(self, extra: str = "all", missing: Sequence[str] = ()) -> None:
        names = f" needs {', '.join(missing)}:" if missing else " is missing:"
        super().__init__(f"The extra {extra!r} of chatsys{names} install it with `pip install 'chatsys[{extra}]'`.")
        self.extra = extra


class SnapshotDamaged(OperatorError):
    """The snapshot is damaged"""

    code = "snapshot_damaged"


class LabBusy(OperatorError):
    """Another run is measuring on this PostgreSQL server; two at once would distort each other's results"""

    code = "lab_busy"
