"""A run from Locust's first event to the verdict: options, accounts, warm-up, draining, audit, exit status.

At the end the users stop sending and stay connected until each has received the messages in flight. A master first has
all its workers stop their users, then requests the books of each, merges them and audits them.
"""

from __future__ import annotations

import gc
import logging
import os
import secrets
import signal
import sys
import time
from collections import Counter
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import gevent
import msgspec
import psutil
from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner
from locust.stats import CSV_STATS_INTERVAL_SEC

from chatsys.client.blocking.transports import TRANSPORTS
from chatsys.loadtesting import arrivals, record, shapes
from chatsys.loadtesting.accounts import Accounts
from chatsys.loadtesting.dialects import CHOICES, Dialect, UnknownDialect, dialect, spoken_at
from chatsys.loadtesting.handover import Handover, drain, together, wait_until
from chatsys.loadtesting.page import Rows, add_tab, add_to_file, final_rows, live_rows
from chatsys.loadtesting.personas import DEFAULT_HOST, ChatUser
from chatsys.loadtesting.refusals import STARTED_IN, end_with_parent, explain, nobody_listens, page_impossible, unusable
from chatsys.loadtesting.rest import Rest, RestError
from chatsys.loadtesting.run import NEVER, RUN
from chatsys.loadtesting.scenarios import SCENARIOS
from chatsys.loadtesting.socketio_user import FIGURES
from chatsys.loadtesting.validity import reasons
from chatsys.loadtesting.verdict import brought_by, print_verdict, verdict_of
from chatsys.loadtesting.weights import SIZES
from chatsys.results.audit import Audit, judged, judged_by_stays
from chatsys.results.capacity import HELD
from chatsys.results.ledger import LedgerRoom
from chatsys.results.stamps import now
from chatsys.results.stays import StayRoom

log = logging.getLogger("loadtest")

WARM_UP = 2.0
"""Seconds after the first spawning during which nothing is measured."""
GRACE = 15.0
"""Seconds that users have to finish what they are doing."""
WORKERS_TIMEOUT = 120.0
ONE_HOST = "the stamp in each message, all on one host"
ACROSS_HOSTS = "the stamp in each message; only pushes on the sender's own host are timed"
HOOKS = (
    "test_start", "spawning_complete", "test_stopping", "test_stop", "quitting", "quit", "report_to_master",
    "worker_report",
)  # fmt: skip
"""The events of Locust for which :class:`Lifecycle` has a method, named ``on_…``."""
READY, STOP, STOPPED, DRAINED, BOOKS = "load_ready", "load_stop", "load_stopped", "load_drain", "load_books"


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    """Add the options of ``locustfile`` to Locust's own."""
    parser.set_defaults(spawn_rate=shapes.SPAWN_RATE)
    sys.excepthook = explain
    gevent.spawn(end_with_parent)
    group = parser.add_argument_group("Chat load")

    def option(name: str, default: str, text: str, **settings: Any) -> None:
        """Add an option that Locust's web form shows; by default it shows no option of a group."""
        text += f" (default {default})" if default else ""
        group.add_argument(name, default=default, help=text, **settings).include_in_web_ui = True

    sizes = "zipf: room sizes follow a power law; equal: all alike; one: a single room for all users"
    share = "Share of users who send receipts for each message, from 0 to 1"
    arrival = "closed: a user waits for the acknowledgement; constant, poisson: an open loop"
    option("--scenario", "steady", "How many users, where, and who writes", choices=tuple(SCENARIOS))
    option("--interval", "20", "Mean seconds between two messages of a user", type=float)
    option("--room-size", "20", "Mean number of users in a room", type=int)
    option("--room-sizes", "zipf", sizes, choices=SIZES)
    option("--receipts", "0.1", share, type=float)
    option("--arrival", "closed", arrival, choices=("closed", "constant", "poisson"))
    option("--dialect", "", f"The server's dialect: {CHOICES} (default: detected by the first join)")
    option("--transport", "websocket", "Engine.IO transport", choices=tuple(TRANSPORTS))
    option("--objective", "200", "Capacity search: highest push p99, in ms", type=float)
    option("--seed", "1", "Seed that assigns users to rooms", type=int)
    option("--accounts", ".chatsys/loadtest/accounts.json", "File that keeps the accounts for the next run")
    option("--out", "", "Folder for samples.jsonl and locust.json (default: write neither)")


@events.init.add_listener
def on_init(environment: Environment, runner: Any, web_ui: Any, **_: Any) -> None:
    """Exit with one sentence if the run can't work; otherwise attach the lifecycle to its runner."""
    options = environment.parsed_options
    if not isinstance(runner, WorkerRunner):
        complaint = unusable(options) or (page_impossible(web_ui.host, web_ui.port) if web_ui else None)
        unreachable = nobody_listens(environment.host or DEFAULT_HOST)
        if complaint or (unreachable and (options.headless or options.autostart)):
            sys.exit(complaint or unreachable)
        if unreachable:
            log.warning(unreachable)
    environment.stop_timeout = environment.stop_timeout or GRACE
    lifecycle = Lifecycle(environment)
    lifecycle.attach()
    if web_ui:
        add_tab(web_ui, lifecycle.rows, lifecycle.over)


class Lifecycle:
    """The event listeners of one environment, and the state that only the local runner or the master needs."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.runner = environment.runner
        self.is_worker = isinstance(self.runner, WorkerRunner)  # its master audits the run and gives the verdict
        self.is_master = isinstance(self.runner, MasterRunner)  # its workers have the users
        self.generators: dict[str, dict[str, float]] = {}
        self._began = 0.0
        self._background: list[gevent.Greenlet] = []
        self._ready: set[str] = set()  # the workers that have their accounts and whose first users have started
        self._stopped: set[str] = set()  # the workers whose users have stopped
        self._handovers: dict[str, Handover] = {}
        self._missing_workers: list[str] = []
        self._workers: set[str] = set()
        self._final: record.LocustResult | None = None
        self._concluded = True
        self._judging = False
        self._complaint = ""
        self._interrupted = False
        self._used = (time.process_time(), time.monotonic())

    def attach(self) -> None:
        """Register the listeners."""
        for name in HOOKS:
            getattr(self.environment.events, name).add_listener(getattr(self, f"on_{name}"))
        if self.environment.shape_class is not None:
            self.environment.shape_class.counters = self.counters
            self.environment.shape_class.all_are_there = self.all_are_there
        if self.is_worker:
            self.runner.register_message(STOP, self.on_stop_message, concurrent=True)
            self.runner.register_message(DRAINED, self.on_drain_message, concurrent=True)
            signal.signal(signal.SIGINT, self.on_interrupt)
        if self.is_master:
            self.runner.register_message(READY, lambda msg, **_: self._ready.add(msg.node_id))
            self.runner.register_message(STOPPED, lambda msg, **_: self._stopped.add(msg.node_id))
            self.runner.register_message(BOOKS, self.on_books_message)

    # -- the beginning

    def on_test_start(self, **_: Any) -> None:
        """Begin a run: share the options with all processes, and prepare accounts in those that have users."""
        options = self.environment.parsed_options
        RUN.begin()
        gc.unfreeze()
        if not self.is_worker:
            self.environment.process_exit_code = None
            options.load_run = secrets.token_hex(3)
            options.load_users = max(int(options.num_users or 0), self.runner.target_user_count)
            options.load_workers = self.runner.worker_count
        RUN.ledger.open(options.load_run)
        RUN.host = self.environment.host or DEFAULT_HOST
        RUN.users, RUN.interval, RUN.seed = options.load_users, options.interval, options.seed
        RUN.scenario, RUN.receipts = SCENARIOS[options.scenario], options.receipts
        RUN.room_size, RUN.room_sizes = RUN.scenario.rooms or (options.room_size, options.room_sizes)
        RUN.open_loop = options.arrival != "closed"
        RUN.worker = (max(0, getattr(self.runner, "worker_index", 0)), max(1, options.load_workers))
        ChatUser.transport = options.transport
        RUN.rest = Rest(RUN.host)
        self._began, self._concluded, self._final = time.monotonic(), False, None
        self._complaint = ""
        self._handovers, self._ready, self._stopped = {}, set(), set()
        if self.is_master:
            self._workers = set(self.runner.clients)
        if not self.is_worker:
            self._spawn(self._keep_sampling, Path(options.out) if options.out else None)
        complaint = unusable(options)  # the web form may have changed them
        if options.dialect and not complaint:
            try:
                RUN.dialect = dialect(options.dialect)
            except UnknownDialect as error:
                complaint = str(error)
        if complaint and not self.is_worker:
            self._give_up(complaint)
        elif not self.is_master:
            self._prepare_users(options)

    def _give_up(self, why: str) -> None:
        """End a run that can't begin, with the reason."""
        log.error(why)
        self._complaint = why
        self.environment.process_exit_code = 1
        RUN.cannot_start = True
        if self.is_worker:
            gevent.spawn(self.runner.quit)

    def _prepare_users(self, options: Any) -> None:
        path = Path(options.accounts)
        number, workers = RUN.worker
        try:
            chosen = dialect(options.dialect) if options.dialect else None
            file = path.with_stem(f"{path.stem}-{number}")  # one file for each process
            RUN.accounts = Accounts(RUN.rest, file, (chosen or Dialect()).account)
            RUN.accounts.prepare(-(-RUN.users // workers))
            RUN.dialect = chosen or self._detect_dialect(options)
            RUN.ledger.open(options.load_run, LedgerRoom if RUN.dialect.numbered else StayRoom)
        except (UnknownDialect, RestError, msgspec.DecodeError) as error:
            self._give_up(str(error) if isinstance(error, UnknownDialect) else f"No accounts: {error}")
            return
        without = RUN.dialect.without | RUN.scenario.without | ({"send"} if RUN.open_loop else set())
        for user_class in self.environment.user_classes:
            user_class.tasks = [task for task in user_class.tasks if task.__name__ not in without]
        if RUN.scenario.announcer and number == 0:
            self._spawn(arrivals.keep_sending, "constant")
        elif RUN.open_loop and not RUN.scenario.announcer:
            self._spawn(arrivals.keep_sending, options.arrival)

    def _detect_dialect(self, options: Any) -> Dialect:
        """Detect the dialect by joining the first user to its room."""
        room = RUN.room_of(RUN.worker[0])
        found = spoken_at(RUN.host, RUN.accounts.of(0), room, options.transport, ChatUser.timeout)
        log.info("%s speaks the dialect %s", RUN.host, found.name)
        return found

    def _spawn(self, work: Any, *args: Any) -> None:
        self._background.append(gevent.spawn(work, *args))

    def on_spawning_complete(self, **_: Any) -> None:
        """All users of a step have started. After the first step, measure from the end of the warm-up on."""
        if RUN.ending:
            return
        first = RUN.measure_from == NEVER
        if first:
            RUN.measure_from = now() + round(WARM_UP * 1e9)
            gevent.spawn_later(WARM_UP, RUN.watch.start)
            if self.is_worker:
                self.runner.send_message(READY)
        if first or self.environment.parsed_options.scenario == "capacity":
            # A full garbage collection with 2,000 users pauses them for some 60 ms. One is enough, as they live as long
            # as the step.
            gc.collect()
            gc.freeze()

    def all_are_there(self) -> bool:
        """True once the first users of all processes have started; the run time counts from then."""
        return not self.is_master or self._ready >= set(self.runner.clients)

    # -- while it runs

    def _keep_sampling(self, folder: Path | None) -> None:
        with closing(record.Sampler(folder)) if folder is not None else nullcontext() as sampler:
            while True:
                gevent.sleep(1.0)
                if not self.is_master:
                    FIGURES.flush()
                    self.generators["local"] = self._generator()
                if sampler is not None:
                    sampler.sample(self.environment, self.generators)

    def _generator(self) -> dict[str, float]:
        """The current load of this process: CPU as a share of a core, lag in ms, memory in bytes, deviations so far."""
        (used, at), self._used = self._used, (time.process_time(), time.monotonic())
        return {
            "cpu": round((self._used[0] - used) / (self._used[1] - at), 3),
            "lag_ms": round(RUN.watch.lag_now, 2),
            "rss": psutil.Process(os.getpid()).memory_info().rss,
            "users": self.runner.user_count,
            "deviations": RUN.ledger.deviations(),
            **RUN.watch.seen.stress(),
        }

    def on_report_to_master(self, data: dict[str, Any], **_: Any) -> None:
        """Worker: add the load of this process to Locust's report."""
        data["generator"] = self._generator()

    def on_worker_report(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        """Master: keep the load that a worker reports."""
        self.generators[client_id] = data["generator"]

    def counters(self) -> shapes.DwellCounters:
        """The cumulative counts that the capacity search compares."""
        FIGURES.flush()
        stats = self.environment.stats
        if not self.is_master:
            self.generators["local"] = self._generator()
        totals: Counter[str] = Counter()
        for generator in self.generators.values():
            totals.update({name: int(count) for name, count in generator.items()})
        return shapes.DwellCounters(shapes.pushes(stats.entries), stats.num_failures, totals["deviations"], {**totals})

    # -- the end

    def on_test_stopping(self, **_: Any) -> None:
        """Stop sending; users that stop from now on stay connected.

        A master collects the books here, because Locust's own stop message comes next, and a worker answers nothing
        while it handles that.
        """
        first = not RUN.ending
        self._end_sending()
        if first and self.is_master:
            self._collect_books()

    def _end_sending(self) -> None:
        if not RUN.ending:
            RUN.ending = True
            gevent.killall(self._background)
            self._background = []
            RUN.watch.stop()

    def on_test_stop(self, **_: Any) -> None:
        """The users have stopped: drain, audit, and give the verdict. Does nothing in a worker."""
        if self._concluded or self._judging or self.is_worker:
            return
        self._judging = True
        try:
            if not self.is_master:
                self._handovers["local"] = drain("local")
            self._conclude()
        finally:
            self._concluded, self._judging = True, False

    def _collect_books(self) -> None:
        """Have all workers stop their users, then collect their books. Note which workers sent none, even lost ones."""
        workers = set(self.runner.clients)
        for client in workers:
            self.runner.send_message(STOP, None, client)
        wait_until(lambda: self._stopped >= workers & set(self.runner.clients), WORKERS_TIMEOUT)
        for client in workers:
            self.runner.send_message(DRAINED, None, client)
        wait_until(lambda: self._handovers.keys() >= workers & set(self.runner.clients), WORKERS_TIMEOUT)
        self._missing_workers = sorted((self._workers | workers) - self._handovers.keys())

    def on_stop_message(self, **_: Any) -> None:
        """Worker: stop the users and report it."""
        self._end_sending()
        self.runner.stop_users(self.runner.user_classes_count)
        self.runner.send_message(STOPPED)

    def on_drain_message(self, **_: Any) -> None:
        """Worker: no process sends any more. Wait for messages in flight, then hand over the books."""
        handover = drain(self.runner.client_id)
        timings: dict[str, Any] = {}
        self.runner.environment.events.report_to_master.fire(client_id=self.runner.client_id, data=timings)
        self.runner.send_message("stats", timings)
        self.runner.send_message(BOOKS, msgspec.json.encode(handover))
        self._concluded = True
        self.environment.stop_timeout = 0  # the users have stopped, so Locust need not wait; the next run sets it anew

    def on_interrupt(self, signum: int, frame: Any) -> None:
        """Worker: ignore the first Ctrl-C. A terminal sends it to the master too, which ends the run with an audit."""
        if self._concluded or self._interrupted:
            signal.default_int_handler(signum, frame)
        self._interrupted = True
        if os.getpid() == STARTED_IN:
            log.warning("The master ends the run: press Ctrl-C there, or again here to leave the run incomplete.")

    def on_books_message(self, msg: Any, **_: Any) -> None:
        """Master: keep the books of one worker."""
        self._handovers[msg.node_id] = msgspec.json.decode(msg.data, type=Handover)

    def _conclude(self) -> None:
        FIGURES.flush()
        merged = together(self.environment.parsed_options.load_run, self._handovers.values())
        audit = self._audit(merged)
        audit.incomplete += [f"worker {client} did not hand over its books" for client in self._missing_workers]
        result = self._result(audit, merged)
        RUN.rest.close()
        if self.environment.process_exit_code is None:
            self.environment.process_exit_code = {"VALID": 0, "FAILED": 1, "INVALID": 2}[result.verdict]
        self._final = result
        options = self.environment.parsed_options
        if not options.headless:
            print_verdict(result)
        if options.out:
            (Path(options.out) / record.RESULT).write_bytes(msgspec.json.encode(result))
        if options.csv_prefix:  # Locust writes its CSV files at fixed intervals: wait for the last one
            gevent.sleep(CSV_STATS_INTERVAL_SEC + 0.5)

    def _audit(self, merged: Handover) -> Audit:
        """Compare the books of all processes with what the server has stored. A master uses its workers' dialect."""
        if merged.dialects and not self.environment.parsed_options.dialect:
            RUN.dialect = dialect(min(merged.dialects))
        used, read = RUN.dialect, RUN.rest.read
        if used.numbered:
            audit = judged(merged.books, lambda room, base: used.stored(read, room, base))
        else:
            stored = (lambda room: used.stored(read, room, 0)) if used.reads_back else None
            audit = judged_by_stays(merged.books, stored)
        if len(merged.dialects) > 1:
            found = " and ".join(sorted(merged.dialects))
            audit.incomplete.append(f"the generator's processes found different dialects, {found}: give --dialect")
        return audit

    def _result(self, audit: Audit, merged: Handover) -> record.LocustResult:
        options = self.environment.parsed_options
        failures = record.failures_of(self.environment)
        search = getattr(self.environment.shape_class, "search", None)
        steps = search.steps if search is not None else []
        if any(step.outcome == HELD for step in steps):
            invalid = []  # each step was judged by itself; above the capacity a saturated generator is expected
        else:
            invalid = [reason for name, seen in sorted(merged.generators.items()) for reason in reasons(name, seen)]
        unexpected = [failure for failure in failures if not brought_by(options.scenario, failure)]
        verdict, why = verdict_of(audit, invalid, unexpected)
        if self._complaint:
            verdict, why = "FAILED", [self._complaint]
        given = ("scenario", "interval", "receipts", "arrival", "objective", "seed", "tags", "run_time")
        used = ("room_size", "room_sizes", "users", "host")
        return record.LocustResult(
            schema_version=record.SCHEMA,
            run=options.load_run,
            verdict=verdict,
            reasons=why,
            options={name: getattr(options, name) for name in given}
            | {name: getattr(RUN, name) for name in used}
            | {"dialect": RUN.dialect.name},
            seconds=time.monotonic() - self._began,
            figures=record.figures_of(self.environment),
            failures=failures,
            untimed=merged.untimed,
            unhandled=merged.unhandled,
            elsewhere=merged.elsewhere,
            clock=ACROSS_HOSTS if merged.elsewhere else ONE_HOST,
            audit=audit,
            generators=merged.generators,
            steps=steps,
        )

    def over(self) -> bool:
        """True if no run is active: none has started yet, or the last one has its verdict."""
        return self._concluded

    def rows(self) -> Rows:
        """The rows of the section in Locust's page and report."""
        return live_rows(self.environment, self.generators) if self._final is None else final_rows(self._final)

    def on_quit(self, **_: Any) -> None:
        """Print the verdict last, after Locust has printed its tables and written its report."""
        if self._final is not None:
            html_file = self.environment.parsed_options.html_file
            if html_file:
                add_to_file(html_file, self.rows())
            print_verdict(self._final)

    def on_quitting(self, **_: Any) -> None:
        """After SIGTERM the users are still running here: stop them, so that the run gets a verdict."""
        if not self._concluded and not self.is_worker:
            self.runner.stop()
