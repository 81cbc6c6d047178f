"""What each command's help shows below its options: commands to copy."""

from __future__ import annotations

_DATABASE = "postgresql://chatuser@localhost/chatdb"

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": ("chatsys demo", "chatsys serve", "chatsys db status", "chatsys monitor connections"),
    "serve": ("chatsys serve", f"chatsys serve --database-url {_DATABASE} --port 8080"),
    "demo": ("chatsys demo",),
    "monitor": (
        "chatsys monitor",
        "chatsys monitor table_sizes",
        "chatsys monitor growth --days 7",
        "chatsys monitor pulse --watch --every 5",
        "chatsys monitor slow_queries --explain",
        "chatsys monitor record reports/today --for 5m",
        "chatsys monitor sessions --format csv > sessions.csv",
    ),
    "top": ("chatsys top", f"chatsys top {_DATABASE} --server http://chat.example.org:3001"),
    "doctor": ("chatsys doctor", f"chatsys doctor {_DATABASE}", "chatsys doctor --format json"),
    "verify": ("chatsys verify", f"chatsys verify --database-url {_DATABASE}"),
    "config": ("chatsys config", "chatsys config --format json"),
    "loadtest": (
        "chatsys loadtest --users 500 --minutes 2",
        "chatsys loadtest --scenario capacity --store postgres",
        "chatsys loadtest --locustfile",
    ),
    "conformance": (
        "chatsys conformance http://127.0.0.1:3001",
        "chatsys conformance http://127.0.0.1:3001 --section 9.3 --section 14 --yes --format junit > conformance.xml",
    ),
    "notebooks": ("chatsys notebooks measured && jupyter lab measured/notebooks",),
    "export": ("chatsys export chat.snapshot", f"chatsys export chat.snapshot --from {_DATABASE}"),
    "import": (f"chatsys import chat.snapshot --to {_DATABASE}",),
    "migrate": (f"chatsys migrate --from chat.snapshot --to {_DATABASE} --verify",),
    "db": ("chatsys db init", "chatsys db backup chat.dump --verify"),
    "db init": ("chatsys db init", f"chatsys db init --database-url {_DATABASE}"),
    "db migrate": ("chatsys db backup before.dump && chatsys db migrate",),
    "db status": ("chatsys db status",),
    "db reset": ("chatsys db reset",),
    "db backup": ("chatsys db backup chat.dump --verify", "chatsys db backup chat.sql"),
    "db restore": ("chatsys db restore chat.dump",),
    "db cleanup": (
        "chatsys db cleanup --messages-older-than 30d --dry-run",
        "chatsys db cleanup --messages-older-than 30d --sessions-older-than 1d",
    ),
    "bench": (
        "chatsys bench --profile quick",
        "chatsys bench --only send_message --store postgresql",
        "chatsys bench --against main",
    ),
    "bench list": ("chatsys bench list",),
    "bench subject": ("chatsys bench subject",),
    "bench show": ("chatsys bench show reports/latest",),
    "bench claims": ("chatsys bench claims reports/latest",),
    "bench compare": ("chatsys bench compare reports/latest reports/runs/RUN",),
    "bench index": ("chatsys bench index",),
    "bench page": ("chatsys bench page reports/latest",),
    "bench publish": ("chatsys bench publish", "chatsys bench publish reports/runs/RUN"),
}
"""Command (its words after ``chatsys``) -> examples, the most useful first."""


def epilog(command: str) -> str:
    """The examples as the end of a help text; empty for a command that has none."""
    lines = EXAMPLES.get(command, ())
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)]) if lines else ""


def with_examples(command: object, words: str = "") -> None:
    """Give a command and all below it their examples."""
    if not getattr(command, "epilog", None):
        command.epilog = epilog(words)  # type: ignore[attr-defined]
    for name, below in getattr(command, "commands", {}).items():
        with_examples(below, f"{words} {name}".strip())
