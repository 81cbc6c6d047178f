"""``chatsys bench``: measure both stores, and work with the records of runs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn

from chatsys.cli.database import Yes, confirm
from chatsys.cli.errors import explain
from chatsys.cli.working import Against, Interrupted, working
from chatsys.errors import ChatsysError, OperatorError
from chatsys.extras import require
from chatsys.interrupts import EndedBySignals
from chatsys.settings import read_settings

if TYPE_CHECKING:
    from chatsys.reports.page import Table
    from chatsys.results.run import Result

app = typer.Typer(help="Compare the memory store with PostgreSQL, and compare runs.", invoke_without_command=True)

REPORTS = Path("reports")
INVALID = 2
INTERRUPTED = 130


ProfileName = Literal["quick", "standard", "full"]
"""quick: under 60 s. standard: 5 to 11 minutes. full: 1,000,000 users and 5,000,000 messages, under 45 minutes."""
Profile = Annotated[ProfileName, typer.Option(help="How much to measure.")]
RunFolder = Annotated[
    Path | None, typer.Argument(help="A result.json or its folder.", show_default="the newest benchmark")
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")]


@app.callback()
def bench(  # noqa: PLR0917 - each is an option, given by name
    context: typer.Context,
    profile: Profile = "standard",
    only: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Measure only operations and experiments whose names begin with one of these: a,b.",
            show_default="all",
        ),
    ] = "",
    store: Annotated[
        Literal["memory", "postgresql"] | None, typer.Option(help="Measure only this store.", show_default="both")
    ] = None,
    depth: Annotated[
        Literal["store", "http", "socket"] | None, typer.Option(help="Measure only this depth.", show_default="all")
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Seed of the data, the random choices and the intervals.")
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for the report, or with --against for the record (then default .chatsys/against).",
            show_default="a new folder of reports/runs",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="REV", help="Instead, compare this Git revision with the working tree, in alternating runs."
        ),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="With --against: print Markdown.")] = False,
) -> None:
    """Measure both stores and write a report.

    Exit status 0 for a valid run, 2 for an INVALID one (the report says why), 130 after Ctrl-C (the results so far are
    written, marked partial). PostgreSQL is the server of DATABASE_URL, else the private one.

    With --against REV the exit status is 0 if nothing is slower than REV, 1 if something is, and 2 if the comparison is
    INVALID or REV can't run.
    """
    require("bench")
    if context.invoked_subcommand is not None:
        return
    if against is not None:
        _against(against, profile, seed, out, markdown)
    from chatsys.lab.runner.environment import DEPTHS
    from chatsys.results.names import STORES

    _measure(
        profile,
        tuple(filter(None, only.split(","))),
        stores=(store,) if store else tuple(STORES),
        depths=(depth,) if depth else DEPTHS,
        seed=seed,
        out=out,
    )


def _measure(
    profile: ProfileName,
    only: Sequence[str],
    *,
    stores: Sequence[str],
    depths: Sequence[str],
    seed: int,
    out: Path | None,
) -> NoReturn:
    """Run, write the report, show the decision, and exit with the status of the run."""
    settings = read_settings({}, serving=False)
    from chatsys.lab import record
    from chatsys.lab.report.benchmark import page
    from chatsys.lab.runner.profiles import PROFILES
    from chatsys.lab.runner.run import RunRequest, run
    from chatsys.reports.records import run_folder

    request = RunRequest(
        profile=PROFILES[profile],
        database_url=settings.database_url,
        data_dir=settings.data_dir,
        seed=seed,
        only=only,
        stores=stores,
        depths=depths,
    )
    with EndedBySignals() as ending:
        with _progress() as report:
            result, samples = asyncio.run(ending.run(run(request, report)))
        if result.partial and not any((samples, result.operations, result.points, result.counts, result.persistence)):
            raise Interrupted("Nothing was measured, and nothing was written.")
        folder = out or run_folder(REPORTS, result)
        record.save(result, samples, folder)
        distributions = record.summed(samples)
        page(result, distributions).write(folder)
        if out is None:
            _write_index(REPORTS)
        _show(result)
        Console().print(f"Report: {folder / 'index.html'}", soft_wrap=True)
    sys.exit(INTERRUPTED if result.partial else 0 if result.valid else INVALID)


def _show(result: Result) -> None:
    """Print the decision: warning, headline, what a client waits for, the promises, and the other experiments."""
    from chatsys.lab.report import buses, peers
    from chatsys.reports import floods
    from chatsys.reports.tables import decision_table, promises_table
    from chatsys.results.decision import decide

    decision, console = decide(result), Console()
    for text in (decision.warning, decision.headline):
        if text:
            console.print(text, soft_wrap=True, highlight=False)
    for table in (decision_table(result), promises_table(decision)):
        if table.rows:
            _print(table)
    for sentence in buses.answers(result):
        console.print(sentence, soft_wrap=True)
    for table in peers.tables(result):
        _print(table)
    for sentence in peers.answers(result):
        console.print(sentence.replace("**", ""), soft_wrap=True)
    if measured := floods.rows(result):
        _print(floods.short_table(result))
        console.print(floods.answer(measured).replace("**", ""), soft_wrap=True)


def _write_index(reports: Path) -> None:
    from chatsys.reports.index import index as page

    page(reports).write(reports)


def _print(table: Table, *, markdown: bool = False) -> None:
    if markdown:
        typer.echo(table.markdown())
    else:
        Console().print(table.rich())


def _against(revision: str, profile: ProfileName, seed: int, out: Path | None, markdown: bool) -> NoReturn:
    """Compare, print the table, and exit with the status of the comparison."""
    from chatsys.lab.against import record, table
    from chatsys.lab.against.comparison import ComparisonRequest, compare
    from chatsys.lab.against.plan import PLANS

    settings = read_settings({}, serving=False)
    try:
        if profile not in PLANS:
            raise OperatorError("A comparison has no full profile.", hint="Use --profile quick or standard.")
        request = ComparisonRequest(
            revision=revision,
            plan=PLANS[profile],
            database_url=settings.database_url,
            data_dir=settings.data_dir,
            seed=seed,
        )
        with Console(stderr=True).status("starting") as shown:
            result = compare(request, shown.update)
    except ChatsysError as error:
        explain(error)
        sys.exit(INVALID)
    file = record.save(result, out or settings.data_dir / "against")
    typer.echo(table.markdown(result) if markdown else table.text(result))
    typer.echo(f"Record: {file}")
    sys.exit(INVALID if not result.valid else 1 if result.slower() else 0)


@app.command("peers")
def compare_with_peers(
    profile: Profile = "standard",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the report.", show_default="a new folder of reports/runs"),
    ] = None,
) -> None:
    """Compare with Socket.IO on Node's ws, on uWebSockets and on Bun, in alternating runs.

    Installs them from npm into the folder peers of CHATSYS_DATA_DIR, which needs Node.js 20. Measures fan-out, echo,
    the memory of idle connections and the CPU time of a delivery; a plain send loop is the baseline. Exit status as for
    `chatsys bench`.
    """
    require("bench")
    _measure(profile, ("peers",), stores=("memory",), depths=("socket",), seed=1, out=out)


@app.command()
def subject() -> None:
    """Perform store operations requested as JSON lines, for a comparison of two commits.

    docs/BENCHMARKS.md describes the protocol.
    """
    import uvloop

    from chatsys.lab.against.subject import serve

    uvloop.run(serve(sys.stdin.buffer, sys.stdout.buffer))


@app.command()
def endpoints(
    host: Annotated[str, typer.Option(metavar="URL", help="A running server.", show_default=False)],
    against: Against = None,
    calls: Annotated[int, typer.Option(metavar="N", min=10, help="Calls of each operation at each server.")] = 500,
    markdown: Markdown = False,
    yes: Yes = False,
) -> None:
    """Measure the guide's table of operations on servers that speak the documented protocol.

    Asks first, then creates four accounts (load_…) and one room (load-…) with messages on each server. Exit status 0
    for success, 1 if an operation failed on a server (the table says why), 2 if this client was too slow (INVALID).
    """
    from chatsys.lab import endpoints as measuring
    from chatsys.lab.network.address import listening, place

    urls = list(map(listening, (host, *(against or ()))))
    if len(set(map(place, urls))) < len(urls):
        raise OperatorError("The servers must be different ones.", hint="Give --against another address.")
    servers = " and ".join(map(place, urls))
    confirm(f"This creates accounts (load_…), a room (load-…) and messages on {servers}. Continue?", yes=yes)
    with Console(stderr=True).status("starting") as shown:
        found = asyncio.run(measuring.measure(urls, calls, shown.update))
    table = measuring.table(found.measured)
    _print(table, markdown=markdown)
    if not found.valid:
        typer.echo(f"INVALID: this client's own timers fired {found.lag_ms:.0f} ms late at p99: the machine is busy.")
        raise typer.Exit(INVALID)
    raise typer.Exit(1 if any(each.failures for each in found.measured) else 0)


@app.command("list")
def list_runs(
    reports: Annotated[Path, typer.Option(metavar="DIR", help="The folder of runs.")] = REPORTS,
) -> None:
    """List every run below DIR, published or not, newest first: benchmarks, load tests, recordings."""
    from chatsys.reports.page import Table
    from chatsys.reports.records import entries

    rows = [
        (str(each.folder), each.kind, each.created_at[:19], each.what, each.state, "yes" if each.is_published else "no")
        for each in entries(reports)
    ]
    if not rows:
        typer.echo(f"There are no runs in {reports}: `chatsys bench` makes one, `--reports DIR` looks elsewhere.")
        return
    header = ("Folder", "Kind", "Began", "What", "State", "Published")
    _print(Table(header=header, rows=rows, align="llllll"))


@app.command()
def publish(
    run: Annotated[Path | None, typer.Argument(help="The run's folder.", show_default="the newest benchmark")] = None,
    reports: Annotated[Path, typer.Option(metavar="DIR", help="The folder to publish in.")] = REPORTS,
    readme: Annotated[
        Path, typer.Option(metavar="FILE", help="For a benchmark: the README that shows the decision.")
    ] = Path("README.md"),
) -> None:
    """Publish a run: write its small record to DIR, and a benchmark's decision into the README.

    A benchmark must be valid and complete, a load test VALID. Samples stay with the run.
    """
    from chatsys.reports import publishing
    from chatsys.reports.readme import write
    from chatsys.reports.records import LATEST, load, newest

    folder = publishing.publish(run or newest(reports), reports)
    if folder == reports / LATEST:
        write(readme, load(folder))
    typer.echo(f"Published in {folder}. `make notebooks-run` brings the notebooks up to date; then commit.")


@app.command()
def show(
    run: RunFolder = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a summary.")] = False,
) -> None:
    """Show the decision that a benchmark supports."""
    from chatsys.reports.bench import subtitle
    from chatsys.reports.decision import markdown as written
    from chatsys.reports.records import load, newest
    from chatsys.results.decision import decide

    result = load(run or newest(REPORTS))
    if markdown:
        typer.echo(f"{written(decide(result), None)}\n\n{subtitle(result)}")
        return
    _show(result)
    Console().print(subtitle(result).replace("`", ""), soft_wrap=True)


@app.command()
def claims(
    run: RunFolder = None,
) -> None:
    """Show the guide's promises, a run's verdict on each part, and what was measured."""
    from chatsys.reports.page import Table
    from chatsys.reports.records import load, newest
    from chatsys.results.claims import judge

    rows = [
        (each.promise, each.verdict, "; ".join(part.words for part in each.parts), each.measured)
        for each in judge(load(run or newest(REPORTS)))
    ]
    header = ("Promise", "Verdict", "Its parts", "Measured")
    _print(Table(header=header, rows=rows, align="llll"))


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="The older run: a result.json or its folder.")],
    after: Annotated[Path, typer.Argument(help="The newer run.")],
    gate: Annotated[bool, typer.Option("--gate", help="Fail if a count is worse.")] = False,
    markdown: Markdown = False,
) -> None:
    """Show what changed between two stored runs. It judges counts; for times and ratios use `chatsys bench --against`.

    With --gate the exit status is 1 if a count is worse, and 2 if the runs differ in validity, profile, data size or
    machine.
    """
    from chatsys.lab import comparison as comparing
    from chatsys.reports.page import Table
    from chatsys.reports.records import load
    from chatsys.results.numbers import with_unit

    old, new = load(before), load(after)
    changes, differ = comparing.compare(old, new), comparing.differences(old, new)
    worse = comparing.failures(changes)
    if differ:
        typer.echo(f"NOT COMPARABLE: the two runs differ in {', in '.join(differ)}.\n")
    else:
        said = f"WORSE: {'; '.join(each.what for each in worse)}" if worse else "No count is worse"
        typer.echo(f"{said}. Times and ratios of two runs are not judged: use `chatsys bench --against REV`.\n")
    rows = [
        (each.what, with_unit(each.before, each.unit), with_unit(each.after, each.unit), each.verdict)
        for each in changes
    ]
    table = Table(header=("What", "Before", "After", "Verdict"), rows=rows, align="lrrl")
    _print(table, markdown=markdown)
    if gate and differ:
        raise typer.Exit(INVALID)
    if gate and worse:
        raise typer.Exit(1)


@app.command()
def index(reports: Annotated[Path, typer.Argument(help="The folder of runs.")] = REPORTS) -> None:
    """Write the index of all runs below a folder, with the history of each figure on each machine."""
    if not reports.is_dir():
        raise OperatorError(f"There is no folder {reports}.", hint="`chatsys bench` makes reports/runs.")
    _write_index(reports)
    Console().print(f"Index: {reports / 'index.html'}", soft_wrap=True)


@app.command()
def page(
    run: Annotated[Path, typer.Argument(help="The run's folder, with its distributions.")],
) -> None:
    """Rewrite the pages of a stored benchmark: index.html, report.md and the pictures."""
    from chatsys.lab.report.benchmark import page as drawn
    from chatsys.reports.records import load
    from chatsys.results.distributions import read

    drawn(load(run), read(run)).write(run)
    Console().print(f"Report: {run / 'index.html'}", soft_wrap=True)


@contextmanager
def _progress() -> Iterator[Callable[[str, bool, int], None]]:
    """A progress bar on standard error; each finished step advances it."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with working("starting", *columns) as show:
        steps = -1

        def report(text: str, done: bool, total: int) -> None:
            nonlocal steps
            steps += done
            show(text, max(0, steps), total)

        yield report
