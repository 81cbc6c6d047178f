"""``chatsys loadtest``: start a server, run Locust against it, and give a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

import chatsys
from chatsys.cli.database import Yes, confirm
from chatsys.cli.working import Against
from chatsys.extras import require
from chatsys.settings import read_settings

ScenarioName = Literal[
    "steady", "ramp", "step", "spike", "soak", "storm", "direct", "many-to-one", "announcements", "flash-crowd",
    "rolling-restart", "capacity",
]  # fmt: skip
"""What the users do: chatsys/loadtesting/scenarios.py."""
StoreChoice = Literal["memory", "postgresql", "both"]
Tag = Literal["send", "typing", "read", "rooms", "reconnect"]
"""What users do, by the tags of chatsys/loadtesting/weights.py."""


def _print_locustfile(wanted: bool) -> None:
    if wanted:
        typer.echo(Path(chatsys.__file__).parent / "loadtesting" / "locustfile.py")
        raise typer.Exit


def loadtest(
    *,
    scenario: Annotated[
        ScenarioName,
        typer.Option(
            metavar="NAME",
            help="How many users there are at each moment, in which rooms, and who writes: "
            f"{', '.join(get_args(ScenarioName))}.",
        ),
    ] = "steady",
    users: Annotated[
        int, typer.Option(metavar="N", min=1, help="Connected users; for capacity, the most to try.")
    ] = 200,
    store: Annotated[StoreChoice | None, typer.Option(help="The store of the server.", show_default="both")] = None,
    host: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Measure this running server instead of starting one.", show_default="none"),
    ] = None,
    against: Against = None,
    dialect: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The dialect of the servers of --host: chatsys, documented, or module:Class. By default the first "
            "join decides; with --against the default is documented.",
            show_default=False,
        ),
    ] = "",
    database_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="With --host: also read this database's counters.", show_default="none"),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="MINUTES",
            min=0.05,
            help="Minutes of load on each store; default 1, for soak 31, for capacity at most 3.",
        ),
    ] = None,
    interval: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.01, help="Mean seconds between two messages of a user.")
    ] = 20.0,
    room_size: Annotated[int, typer.Option(metavar="N", min=1, help="Mean number of users in a room.")] = 20,
    room_sizes: Annotated[
        Literal["zipf", "equal", "one"],
        typer.Option(help="zipf: sizes follow a power law; equal: all alike; one: a single room for all users."),
    ] = "zipf",
    receipts: Annotated[
        float, typer.Option(metavar="SHARE", min=0, max=1, help="Share of users who send receipts for each message.")
    ] = 0.1,
    arrival: Annotated[
        Literal["closed", "constant", "poisson"],
        typer.Option(help="closed: a user waits for the acknowledgement; constant, poisson: an open loop."),
    ] = "closed",
    objective: Annotated[
        float, typer.Option(metavar="MS", min=1, help="The p99 of deliveries that a capacity search must hold, in ms.")
    ] = 200.0,
    spawn_rate: Annotated[
        float, typer.Option(metavar="RATE", min=0.1, help="Users that connect per second at the start.")
    ] = 50.0,
    processes: Annotated[int, typer.Option(metavar="N", min=1, help="Processes of the load generator.")] = 1,
    tags: Annotated[
        str,
        typer.Option(
            metavar="TAGS",
            help=f"Only these activities, separated by commas: {', '.join(get_args(Tag))}.",
            show_default="all",
        ),
    ] = "",
    seed: Annotated[int, typer.Option(metavar="N", help="Seed that assigns users to rooms.")] = 1,
    reports: Annotated[Path, typer.Option(metavar="DIR", help="Where to write the run's folder.")] = Path(
        "reports/runs"
    ),
    locustfile: Annotated[
        bool,
        typer.Option(
            "--locustfile",
            callback=_print_locustfile,
            is_eager=True,
            help="Print the path of the locustfile, for Locust against a server of your own, and exit.",
        ),
    ] = False,
    yes: Yes = False,
) -> None:
    """Load a server with simulated users.

    Starts the server, and writes a report. With --host it starts none: it asks first, then creates accounts (load_…)
    and rooms (load-…) with messages on that server. Exit status 0 for VALID, 1 for FAILED, 2 for INVALID (the report
    says why), 130 after Ctrl-C. PostgreSQL is the server of DATABASE_URL, where the test creates scratch databases,
    else the private one.
    """
    if host is None and (against or dialect or database_url):
        raise typer.BadParameter("--against, --dialect and --database-url need --host.")
    if host is not None and store is not None:
        raise typer.BadParameter("a running server has its own store: give --store or --host.")
    if scenario == "rolling-restart" and host is None:
        store = store or "postgresql"
        if store != "postgresql":
            raise typer.BadParameter("the memory store ends with its process: give --store postgresql.")
    require("loadtest")
    settings = read_settings({}, serving=False)
    from chatsys.lab.loadtest import run as lab
    from chatsys.lab.loadtest.record import LoadTestPlan
    from chatsys.lab.network.address import listening, place

    hosts = tuple(listening(url) for url in (host, *(against or ())) if url is not None)
    if hosts:
        servers = " and ".join(map(place, hosts))
        confirm(
            f"{users} users will create accounts (load_…), rooms (load-…) and messages on {servers}. Continue?", yes=yes
        )
    plan = LoadTestPlan(
        scenario=scenario,
        users=users,
        store=store or "both",
        minutes=lab.MINUTES.get(scenario, 1.0) if minutes is None else minutes,
        interval=interval,
        room_size=room_size,
        room_sizes=room_sizes,
        receipts=receipts,
        arrival=arrival,
        objective=objective,
        spawn_rate=spawn_rate,
        processes=processes,
        tags=_known(tags),
        seed=seed,
        hosts=hosts,
        dialect=dialect or ("documented" if against else ""),
    )
    databases = lab.Databases(settings.database_url, settings.data_dir / "postgres", database_url)
    result, folder = lab.run(plan, reports, databases, typer.echo)
    for repetition in result.repetitions:
        for reason in repetition.reasons:
            typer.echo(f"  repetition {repetition.number}, {repetition.store}: {reason}")
    if measured := [repetition for repetition in result.repetitions if repetition.locust]:
        from chatsys.lab.report.load import comparison

        typer.echo("\nTimes in ms: median, 99th percentile.")
        typer.echo(comparison(measured).markdown())
    typer.echo(f"Verdict: {result.verdict}. Report: {folder / 'index.html'}")
    raise typer.Exit(lab.exit_status(result))


def _known(tags: str) -> tuple[str, ...]:
    """The tags between the commas. Raises BadParameter for one that no activity has."""
    given = tuple(filter(None, (tag.strip() for tag in tags.split(","))))
    unknown = sorted(set(given) - set(get_args(Tag)))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)} is not one of {','.join(get_args(Tag))}.", param_hint="--tags")
    return given
