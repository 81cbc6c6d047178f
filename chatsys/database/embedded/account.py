"""The system account that runs the embedded server, and the files that this account can reach.

PostgreSQL refuses to run as root. If we are root, the server runs under an account of its own. The folders above the
server's keep their permissions. If the account can't pass through them, the server reaches its data through its working
folder (Linux) and its programs in a copy.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from chatsys.database.embedded.failures import failure, not_allowed
from chatsys.errors import EmbeddedFailed

log = logging.getLogger(__name__)

ACCOUNT = "embedded_postgres"
"""The system user for a server that root starts."""

HERE = "/proc/self/cwd"
"""The path of a hidden data folder for the server: the working folder of each of its processes."""

_COPIES = Path("/var/lib")


class ServerAccount:
    """The account that runs the programs of the server in ``home``: our own unless we are root."""

    def __init__(self, home: Path, programs: Path) -> None:
        self.programs = programs
        self.hidden = False
        """Whether the account can't pass through the folders above ``home``."""
        self._home = home
        self._account: pwd.struct_passwd | None = None

    def choose(self, data: Path) -> None:
        """Find the account for a server whose data is in ``data``. Raises EmbeddedFailed."""
        self._account = find_account(data)

    def open_paths(self) -> None:
        """Let the server's account reach its data and programs. Folders above them keep their permissions."""
        if self._account is None:
            return
        _grant(self._home, 0o001)
        self.hidden = not _passable(self._home, self._account)
        if self.hidden and not Path(HERE).exists():
            raise not_allowed(self._home)
        if not _passable(self.programs, self._account):
            self.programs = _copied(self.programs)
        install = self.programs.parent
        for top in (install, _libraries(install)):
            for where, _, files in os.walk(top):
                _grant(Path(where), 0o005)
                for name in files:
                    _grant(Path(where, name), 0o005 if where == str(self.programs) else 0o004)

    def make_folder(self, folder: Path) -> None:
        """Create a folder that only the server's user may enter."""
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        if self._account is not None:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)

    def identity(self) -> dict[str, object]:
        """The arguments of ``subprocess.run`` that let a program run under the account."""
        if self._account is None:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}

    def run(self, program: str, *arguments: str, stdin: str = "", folder: Path | None = None) -> str:
        """Run one of the programs to its end. Returns its output."""
        done = subprocess.run(
            [self.programs / program, *arguments],
            input=stdin.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=folder if folder is not None and self.hidden else "/",
            check=False,
            start_new_session=True,  # Ctrl-C is for this process, which then ends the program
            **self.identity(),  # type: ignore[call-overload]
        )
        output: str = done.stdout.decode("utf-8", "replace")
        if done.returncode:
            raise failure(output, self._home)
        return output


def find_account(data: Path) -> pwd.struct_passwd | None:
    """The account of a server that root starts: the data's owner, or ACCOUNT, created if missing. None: our own."""
    if os.geteuid() != 0:
        return None
    with suppress(FileNotFoundError, KeyError):
        owner = data.stat().st_uid
        if owner != 0:
            return pwd.getpwuid(owner)
    with suppress(KeyError):
        return pwd.getpwnam(ACCOUNT)
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is not None:
        nologin = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin"]
        subprocess.run([useradd, *nologin, ACCOUNT], check=False, capture_output=True)
    try:
        made = pwd.getpwnam(ACCOUNT)
        log.warning(
            "PostgreSQL refuses to run as root. Created the system user %s, without home and shell, to run the private "
            "PostgreSQL. `userdel %s` removes it.", ACCOUNT, ACCOUNT,
        )  # fmt: skip
        return made
    except KeyError:
        raise EmbeddedFailed(
            f"PostgreSQL refuses to run as root, and the account {ACCOUNT} could not be created.",
            hint=f"Create it with `useradd --system {ACCOUNT}`, or run as an ordinary user.",
        ) from None


def _passable(path: Path, account: pwd.struct_passwd) -> bool:
    """Whether the account may pass through all folders above ``path``."""
    for folder in path.resolve().parents:
        found = folder.stat()
        bit = 0o100 if found.st_uid == account.pw_uid else 0o010 if found.st_gid == account.pw_gid else 0o001
        if not found.st_mode & bit:
            return False
    return True


def _libraries(install: Path) -> Path:
    """The folder in which the wheel of the programs in ``install`` keeps their libraries."""
    return install.parent.with_name(install.parent.name + ".libs")


def _copied(programs: Path) -> Path:
    """A copy of the programs that everybody can reach. It is made once for each installation and version."""
    install = programs.parent
    identity = f"{install} {programs.stat().st_mtime_ns} {os.stat(programs / 'postgres').st_mtime_ns}"
    home = _COPIES / f"chatsys-postgres-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
    if not home.exists():
        partial = Path(tempfile.mkdtemp(prefix=f"{home.name}.", dir=_COPIES))
        shutil.copytree(install, partial / install.parent.name / install.name, symlinks=True)
        if _libraries(install).is_dir():
            shutil.copytree(_libraries(install), partial / _libraries(install).name, symlinks=True)
        partial.chmod(0o755)
        (partial / install.parent.name).chmod(0o755)
        with suppress(OSError):  # another process was faster
            partial.rename(home)
        shutil.rmtree(partial, ignore_errors=True)
    return home / install.parent.name / install.name / programs.name


def _grant(path: Path, bits: int) -> None:
    """Add permission bits for others where they are missing."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if mode & bits != bits:
        path.chmod(mode & 0o7777 | bits)
