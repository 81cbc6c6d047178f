"""A run from Locust's first event to the verdict: options, accounts, warm-up, the quiet end, audit, exit status.

At the end the users stop and stay connected until each has what was under way; with workers, the master first lets all
of them stop their users, then asks each for its books, merges them and does the audit.
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
"""Seconds after the first spawning that are not measured."""
GRACE = 15.0
"""Seconds that users get to end what they are doing."""
WORKERS_PATIENCE = 120.0
ONE_HOST = "the stamp in each message, all on one host"
ACROSS_HOSTS = "the stamp in each message, on the sender's own host: its own echo and its neighbours there"
READY, STOP, STOPPED, DRAINED, BOOKS = "load_ready", "load_stop", "load_stopped", "load_drain", "load_books"


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    """The options of ``locustfile``, beside Locust's own."""
    parser.set_defaults(spawn_rate=shapes.SPAWN_RATE)
    sys.excepthook = explain
    gevent.spawn(end_with_parent)
    group = parser.add_argument_group("Chat load")

    def option(name: str, **settings: Any) -> None:
        """With a place in the page's form, which shows nothing of a group unless told."""
        group.add_argument(name, **settings).include_in_web_ui = True

    option("--scenario", choices=tuple(SCENARIOS), default="steady", help="How many users, where, and who writes")
    option("--interval", type=float, default=20.0, help="Seconds between messages of a user, averaged over all users")
    option("--room-size", type=int, default=20, help="Mean number of users in a room")
    option("--room-sizes", choices=SIZES, default="zipf", help="Rooms by a power law, all alike, or one room for all")
    option(
        "--receipts",
        type=float,
        default=0.1,
        help="Share of users who acknowledge delivery and reading of each message",
    )
    option(
        "--arrival",
        choices=("closed", "constant", "poisson"),
        default="closed",
        help="closed: a user waits for the acknowledgement; constant, poisson: an open loop at that arrival",
    )
    option("--dialect", default="", help=f"What the server speaks: {CHOICES}; unless told, the first join decides")
    option("--transport", choices=tuple(TRANSPORTS), default="websocket", help="What carries Engine.IO")
    option("--objective", type=float, default=200.0, help="Capacity search: push p99 to hold, in ms")
    option("--seed", type=int, default=1, help="Which user is in which room")
    option("--accounts", default=".chatsys/loadtest/accounts.json", help="Where accounts are kept between runs")
    option("--out", default="", help="Folder for samples.jsonl and locust.json")


@events.init.add_listener
def on_init(environment: Environment, runner: Any, web_ui: Any, **_: Any) -> None:
    """Refuse to start with what can't work; tie this run to its runner."""
    options = environment.parsed_options
    if not isinstance(runner, WorkerRunner):
        complaint = unusable(options) or (page_impossible(web_ui.host, web_ui.port) if web_ui else None)
        absent = nobody_listens(environment.host or DEFAULT_HOST)
        if complaint or (absent and (options.headless or options.autostart)):
            sys.exit(complaint or absent)
        if absent:
            log.warning(absent)
    environment.stop_timeout = environment.stop_timeout or GRACE
    lifecycle = Lifecycle(environment)
    lifecycle.attach()
    if web_ui:
        add_tab(web_ui, lifecycle.rows, lifecycle.over)


class Lifecycle:
    """The events of one environment. Holds what only the local runner or the master needs."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.runner = environment.runner
        self.generators: dict[str, dict[str, float]] = {}
        self._begun = 0.0
        self._background: list[gevent.Greenlet] = []
        self._sampler: record.Sampler | None = None
        self._ready: set[str] = set()
        self._stopped: set[str] = set()
        self._parts: dict[str, Handover] = {}
        self._silent: list[str] = []
        self._workers: set[str] = set()
        self._told: record.LocustResult | None = None
        self._concluded = True
        self._judging = False
        self._complaint = ""
        self._interrupted = False
        self._used = (time.process_time(), time.monotonic())

    @property
    def is_worker(self) -> bool:
        """True in a worker process: the master concludes, not we."""
        return isinstance(self.runner, WorkerRunner)

    @property
    def is_master(self) -> bool:
        """True in a master: it has no users of its own."""
        return isinstance(self.runner, MasterRunner)

    def attach(self) -> None:
        """Listen."""
        hooks = self.environment.events
        hooks.test_start.add_listener(self.on_test_start)
        hooks.spawning_complete.add_listener(self.on_spawning_complete)
        hooks.test_stopping.add_listener(self.on_test_stopping)
        hooks.test_stop.add_listener(self.on_test_stop)
        hooks.quitting.add_listener(self.on_quitting)
        hooks.quit.add_listener(self.on_quit)
        hooks.report_to_master.add_listener(self.on_report_to_master)
        hooks.worker_report.add_listener(self.on_worker_report)
        if self.environment.shape_class is not None:
            self.environment.shape_class.counters = self.counters
            self.environment.shape_class.all_are_there = self.all_are_there
        if self.is_worker:
            self.runner.register_message(STOP, self.on_stop_message, concurrent=True)
            self.runner.register_message(DRAINED, self.on_drain_message, concurrent=True)
            signal.signal(signal.SIGINT, self.on_interrupt)
        if self.is_master:
            self.runner.register_message(READY, self.on_ready_message)
            self.runner.register_message(STOPPED, self.on_stopped_message)
            self.runner.register_message(BOOKS, self.on_books_message)

    # -- the beginning

    def on_test_start(self, **_: Any) -> None:
        """Begin a run: the same options in all processes, accounts where users are."""
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
        self._begun, self._concluded, self._told = time.monotonic(), False, None
        self._complaint = ""
        self._parts, self._ready, self._stopped = {}, set(), set()
        if self.is_master:
            self._workers = set(self.runner.clients)
        if not self.is_worker:
            self._spawn(self._keep_sampling, Path(options.out) if options.out else None)
        complaint = unusable(options)  # the page's form may have changed them
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
        """End a run that can't begin."""
        log.error(why)
        self._complaint = why
        self.environment.process_exit_code = 1
        RUN.hopeless = True
        if self.is_worker:
            gevent.spawn(self.runner.quit)

    def _prepare_users(self, options: Any) -> None:
        path = Path(options.accounts)
        number, workers = RUN.worker
        try:
            chosen = dialect(options.dialect) if options.dialect else None
            own = path.with_stem(f"{path.stem}-{number}")
            RUN.accounts = Accounts(RUN.rest, own, (chosen or Dialect()).account)
            RUN.accounts.prepare(-(-RUN.users // workers))
            self._speak(chosen or self._spoken(options))
        except UnknownDialect as error:
            self._give_up(str(error))
            return
        except (RestError, msgspec.DecodeError) as error:
            self._give_up(f"No accounts: {error}")
            return
        without = RUN.dialect.without | RUN.scenario.without | ({"send"} if RUN.open_loop else set())
        for user_class in self.environment.user_classes:
            user_class.tasks = [task for task in user_class.tasks if task.__name__ not in without]
        if RUN.scenario.announcer and number == 0:
            self._spawn(arrivals.keep_sending, "constant")
        elif RUN.open_loop and not RUN.scenario.announcer:
            self._spawn(arrivals.keep_sending, options.arrival)

    def _spoken(self, options: Any) -> Dialect:
        """The dialect that the first join finds: that of the first user, in its room."""
        room = RUN.room_of(RUN.worker[0])
        found = spoken_at(RUN.host, RUN.accounts.of(0), room, options.transport, ChatUser.timeout)
        log.info("%s speaks the dialect %s", RUN.host, found.name)
        return found

    def _speak(self, chosen: Dialect) -> None:
        RUN.dialect = chosen
        RUN.ledger.open(self.environment.parsed_options.load_run, LedgerRoom if chosen.numbered else StayRoom)

    def _spawn(self, work: Any, *args: Any) -> None:
        self._background.append(gevent.spawn(work, *args))

    def on_spawning_complete(self, **_: Any) -> None:
        """All users of a step are there: after the first, measure from the end of the warm-up on."""
        if RUN.ending:
            return
        first = RUN.measure_from == NEVER
        if first:
            RUN.measure_from = now() + round(WARM_UP * 1e9)
            gevent.spawn_later(WARM_UP, RUN.watch.start)
            if self.is_worker:
                self.runner.send_message(READY)
        if first or self.environment.parsed_options.scenario == "capacity":
            # A full collection of 2,000 users stops them for some 60 ms. They live as long as the step: once is enough.
            gc.collect()
            gc.freeze()

    def on_ready_message(self, msg: Any, **_: Any) -> None:
        """Master: a worker has made its accounts, and its first users are there."""
        self._ready.add(msg.node_id)

    def all_are_there(self) -> bool:
        """True once the first users of all processes are there: the run's time begins."""
        return not self.is_master or self._ready >= set(self.runner.clients)

    # -- while it runs

    def _keep_sampling(self, folder: Path | None) -> None:
        self._sampler = record.Sampler(folder) if folder is not None else None
        while True:
            gevent.sleep(1.0)
            if not self.is_master:
                FIGURES.flush()
                self.generators["local"] = self._generator()
            if self._sampler is not None:
                self._sampler.sample(self.environment, self.generators)

    def _generator(self) -> dict[str, float]:
        """This process now: CPU as a share of a core, lag in ms, memory in bytes, deviations so far."""
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
        """A worker tells how its process does."""
        data["generator"] = self._generator()

    def on_worker_report(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        """The master hears it."""
        self.generators[client_id] = data["generator"]

    def counters(self) -> shapes.DwellCounters:
        """What the capacity search compares."""
        FIGURES.flush()
        stats = self.environment.stats
        if not self.is_master:
            self.generators["local"] = self._generator()
        together: Counter[str] = Counter()
        for generator in self.generators.values():
            together.update({name: int(count) for name, count in generator.items()})
        return shapes.DwellCounters(
            shapes.pushes(stats.entries), stats.num_failures, together["deviations"], {**together}
        )

    # -- the end

    def on_test_stopping(self, **_: Any) -> None:
        """No more sends; users that stop now stay connected.

        A master collects the books here: Locust's own message, which comes next, has a worker wait until its users
        have had their time to stop, answering nobody.
        """
        first = not RUN.ending
        self._end_sending()
        if first and self.is_master:
            self._gather()

    def _end_sending(self) -> None:
        if not RUN.ending:
            RUN.ending = True
            gevent.killall(self._background)
            self._background = []
            RUN.watch.stop()

    def on_test_stop(self, **_: Any) -> None:
        """The users have stopped: gather, audit, say the verdict. Does nothing in a worker."""
        if self._concluded or self._judging or self.is_worker:
            return
        self._judging = True
        try:
            if not self.is_master:
                self._parts["local"] = drain("local")
            self._conclude()
        finally:
            self._concluded, self._judging = True, False

    def _gather(self) -> None:
        """Let all workers stop their users, then take their books; one that got lost on the way is missed too."""
        workers = set(self.runner.clients)
        for client in workers:
            self.runner.send_message(STOP, None, client)
        wait_until(lambda: self._stopped >= workers & set(self.runner.clients), WORKERS_PATIENCE)
        for client in workers:
            self.runner.send_message(DRAINED, None, client)
        wait_until(lambda: self._parts.keys() >= workers & set(self.runner.clients), WORKERS_PATIENCE)
        self._silent = sorted((self._workers | workers) - self._parts.keys())

    def on_stop_message(self, **_: Any) -> None:
        """Worker: stop the users, say so."""
        self._end_sending()
        self.runner.stop_users(self.runner.user_classes_count)
        self.runner.send_message(STOPPED)

    def on_drain_message(self, **_: Any) -> None:
        """Worker: no process sends any more; wait for what is under way, hand over the books."""
        own = drain(self.runner.client_id)
        timings: dict[str, Any] = {}
        self.runner.environment.events.report_to_master.fire(client_id=self.runner.client_id, data=timings)
        self.runner.send_message("stats", timings)
        self.runner.send_message(BOOKS, msgspec.json.encode(own))
        self._concluded = True
        self.environment.stop_timeout = 0  # the users have stopped; the next run brings its own

    def on_interrupt(self, signum: int, frame: Any) -> None:
        """Worker: a terminal's Ctrl-C comes to the master too, which ends the run with an audit; wait for it once."""
        if self._concluded or self._interrupted:
            signal.default_int_handler(signum, frame)
        self._interrupted = True
        if os.getpid() == STARTED_IN:
            log.warning("The master ends the run: press Ctrl-C there, or here again to leave it incomplete.")

    def on_stopped_message(self, msg: Any, **_: Any) -> None:
        """Master: one worker's users have stopped."""
        self._stopped.add(msg.node_id)

    def on_books_message(self, msg: Any, **_: Any) -> None:
        """Master: one worker's books."""
        self._parts[msg.node_id] = msgspec.json.decode(msg.data, type=Handover)

    def _conclude(self) -> None:
        FIGURES.flush()
        whole = together(self.environment.parsed_options.load_run, self._parts.values())
        checked = self._audit(whole)
        checked.incomplete += [f"worker {client} did not hand over its books" for client in self._silent]
        result = self._result(checked, whole)
        RUN.rest.close()
        if self.environment.process_exit_code is None:
            self.environment.process_exit_code = {"VALID": 0, "FAILED": 1, "INVALID": 2}[result.verdict]
        self._told = result
        options = self.environment.parsed_options
        if not options.headless:
            print_verdict(result)
        if options.out:
            (Path(options.out) / record.RESULT).write_bytes(msgspec.json.encode(result))
        if self._sampler is not None:
            self._sampler.close()
            self._sampler = None
        if options.csv_prefix:  # Locust writes its CSV files by the clock: let it see the last figures
            gevent.sleep(CSV_STATS_INTERVAL_SEC + 0.5)

    def _audit(self, whole: Handover) -> Audit:
        """What all processes know, beside what the server has stored. The master speaks as its workers did."""
        if whole.dialects and not self.environment.parsed_options.dialect:
            RUN.dialect = dialect(min(whole.dialects))
        spoken, read = RUN.dialect, RUN.rest.read
        if spoken.numbered:
            checked = judged(whole.books, lambda room, base: spoken.stored(read, room, base))
        else:
            checked = judged_by_stays(
                whole.books, (lambda room: spoken.stored(read, room, 0)) if spoken.reads_back else None
            )
        if len(whole.dialects) > 1:
            found = " and ".join(sorted(whole.dialects))
            checked.incomplete.append(f"the generator's processes found different dialects, {found}: give --dialect")
        return checked

    def _result(self, checked: Audit, whole: Handover) -> record.LocustResult:
        options = self.environment.parsed_options
        failures = record.failures_of(self.environment)
        search = getattr(self.environment.shape_class, "search", None)
        steps = search.steps if search is not None else []
        if any(
            step.outcome == HELD for step in steps
        ):  # each step was judged by itself; past the capacity all is strained
            invalid = []
        else:
            invalid = [reason for name, seen in sorted(whole.generators.items()) for reason in reasons(name, seen)]
        verdict, why = verdict_of(
            checked, invalid, [failure for failure in failures if not brought_by(options.scenario, failure)]
        )
        if self._complaint:
            verdict, why = "FAILED", [self._complaint]
        names = ("scenario", "interval", "receipts", "arrival", "objective", "seed")
        return record.LocustResult(
            schema_version=record.SCHEMA,
            run=options.load_run,
            verdict=verdict,
            reasons=why,
            options={name: getattr(options, name) for name in names}
            | {
                "room_size": RUN.room_size,
                "room_sizes": RUN.room_sizes,
                "dialect": RUN.dialect.name,
                "users": RUN.users,
                "host": RUN.host,
                "tags": options.tags,
                "run_time": options.run_time,
            },
            seconds=time.monotonic() - self._begun,
            figures=record.figures_of(self.environment),
            failures=failures,
            untimed=whole.untimed,
            unhandled=whole.unhandled,
            elsewhere=whole.elsewhere,
            clock=ACROSS_HOSTS if whole.elsewhere else ONE_HOST,
            audit=checked,
            generators=whole.generators,
            steps=steps,
        )

    def over(self) -> bool:
        """True if no run goes on: there has been none, or it has its verdict."""
        return self._concluded

    def rows(self) -> Rows:
        """The section of Locust's page and report."""
        return live_rows(self.environment, self.generators) if self._told is None else final_rows(self._told)

    def on_quit(self, **_: Any) -> None:
        """Locust has printed its tables and written its report: the verdict is the last thing to be read."""
        if self._told is not None:
            html_file = self.environment.parsed_options.html_file
            if html_file:
                add_to_file(html_file, self.rows())
            print_verdict(self._told)

    def on_quitting(self, **_: Any) -> None:
        """SIGTERM reaches us here with the users still running: stop them first, so that there is a verdict."""
        if not self._concluded and not self.is_worker:
            self.runner.stop()
