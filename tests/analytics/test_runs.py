"""Files that the lab and the load tests write are read back with their meaning, from the file alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from chatsys.analytics import Monitor, answers, runs
from chatsys.analytics.recording import record
from chatsys.errors import OperatorError
from chatsys.lab import record as lab
from chatsys.results.audit import DEVIATIONS
from chatsys.results.run import Interval

ROOT = Path(__file__).resolve().parents[2]
STORES = {"memory": 10.0, "postgresql": 400.0}


def bench(folder: Path, *, slower: float = 1.0, valid: bool = True) -> runs.Run:
    """A run as the lab's own code writes it: sending takes 10 µs in memory and 400 µs on PostgreSQL."""
    around = Interval(low=9.0, high=11.0)
    result = lab.Result(
        id=f"run-{slower}", created_at="2026-01-02T03:04:05.678Z", profile="quick", seed=1,
        environment={"cpu": "a processor", "cpus": 2}, parameters={}, valid=valid,
        reasons=[] if valid else ["too busy"], limitations=["It is made up."],
    )  # fmt: skip
    samples = []
    for store, p50 in STORES.items():
        result.operations.append(
            lab.OperationResult(operation="send_message", store=store, depth="store", n=3, p50_us=p50, p95_us=2 * p50,
                          p99_us=3 * p50, max_us=4 * p50, interval=around)
        )  # fmt: skip
        for size in (100, 1000):
            samples.append(
                lab.Sampled(experiment="growth", operation="search_users", subject=store, depth="store", size=size,
                            round=0, microseconds=np.array([1.0, 2.0, 3.0]) * size)
            )  # fmt: skip
        result.fits.append(
            lab.Fit(operation="search_users", store=store, exponent=1.0, interval=Interval(low=0.9, high=1.1),
                    sizes=(100, 1000))
        )  # fmt: skip
    times = 40 * slower
    spread = Interval(low=times * 0.9, high=times * 1.1)
    result.ratios.append(
        lab.Ratio(operation="send_message", depth="store", ratio=times, interval=spread, verdict="slower", p=0.0)
    )
    result.baselines.append(
        lab.Baseline(
            operation="send_message", store="postgresql", kind="asyncpg", p50_us=200.0, ratio=2.0, interval=around
        )
    )
    for store, missing in (("memory", 50), ("postgresql", 0)):
        result.persistence.append(lab.Survival(store=store, killed="server", acknowledged=50, missing=missing))
    result.claims.append(
        lab.Judgement(claim="x", promise="messages stay", rule="none lost", measured="all lost",
                      verdict="does not hold", samples="")
    )  # fmt: skip
    lab.save(result, samples, folder)
    return runs.load_run(folder)


def load(folder: Path, verdict: str = "VALID") -> runs.Run:
    """The folder of a load test of two seconds."""
    repetition = {
        "number": 1, "store": "postgresql", "folder": "repetition-1-postgresql", "verdict": verdict, "reasons": [],
        "locust": {
            "seconds": 2.0,
            "figures": [{"method": "push", "name": "receive-message talker", "count": 4, "failures": 0,
                         "histogram": [[1.0, 2], [2.0, 1], [8.0, 1]]},
                        {"method": "event", "name": "typing", "count": 5, "failures": 0, "histogram": []}],
            "audit": {"rows": [{"room": "load-0", "expected": 4, "dropped": 0, "doubled": 0}]},
            "steps": [{"users": 10, "pushes": 4, "push_p99": 8.0, "failures": 0, "deviations": 0, "holds": True}],
        },
    }  # fmt: skip
    result = {
        "schema_version": 2, "id": "load-1", "created_at": "2026-01-02T03:04:05+00:00", "verdict": verdict,
        "plan": {"scenario": "steady", "users": 10, "objective": 200.0}, "environment": {},
        "repetitions": [repetition], "limitations": [],
    }  # fmt: skip
    own = folder / "repetition-1-postgresql"
    own.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))
    seconds = range(3)
    push = {"count": 4, "p50": 1.0, "p95": 2.0, "p99": 8.0, "max": 8.0}
    _jsonl(own / "samples.jsonl", [
        {"time": 1000.0 + s, "users": 5 * s, "push": push if s else None, "ack": None, "failures": 0,
         "generators": {"local": {"cpu": 0.1}}} for s in seconds
    ])  # fmt: skip
    _jsonl(own / "server.jsonl", [
        {"time": 1000.2 + s, "cpu": 0.5, "rss": 1000, "metrics": {},
         "database": {"xact_commit": 100 + 20 * s, "tup_inserted": 7}} for s in seconds
    ])  # fmt: skip
    return runs.load_run(folder)


def _jsonl(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_run_of_the_lab_gives_milliseconds(tmp_path: Path) -> None:
    run = bench(tmp_path)
    assert (run.kind, run.is_valid) == ("bench", True)
    assert run.created_at == pd.Timestamp("2026-01-02T03:04:05.678Z")
    found = runs.operations(run).set_index("store")
    assert found.loc["postgresql", "p50_ms"] == pytest.approx(0.4)
    assert found.loc["memory", "low_ms"] == pytest.approx(0.009)
    table = runs.guide_table(run).set_index("operation")
    assert table.loc["Send a message", "with_postgresql"] == "0.39 ms more"
    assert table.loc["Send a message", "postgresql_times_bare_driver"] == 2
    assert "Search users" not in table.index


def test_growth_is_the_median_of_the_samples_at_each_size(tmp_path: Path) -> None:
    medians = runs.growth(bench(tmp_path))
    memory = medians[medians["store"].eq("memory")].set_index("size")["p50_ms"]
    assert memory.to_dict() == {100: pytest.approx(0.2), 1000: pytest.approx(2.0)}
    assert len(runs.samples(runs.load_run(tmp_path), subject="memory")) == 6
    (tmp_path / "samples.parquet").unlink()
    assert len(runs.growth(runs.load_run(tmp_path))) == 4
    with pytest.raises(OperatorError, match="keeps only its distributions") as raised:
        runs.samples(runs.load_run(tmp_path))
    assert "distributions" in raised.value.__notes__[0]


def test_part_that_a_run_did_not_measure_is_an_empty_frame(tmp_path: Path) -> None:
    run = bench(tmp_path)
    empty = {name: value for name, value in run.record.items() if not isinstance(value, list)}
    (tmp_path / "result.json").write_text(json.dumps(empty))
    bare = runs.load_run(tmp_path)
    for read in (
        runs.operations,
        runs.ratios,
        runs.baselines,
        runs.fits,
        runs.persistence,
        runs.claims,
        runs.felt,
        runs.counts,
    ):
        assert read(bare).empty
        assert dict(read(bare).dtypes) == dict(read(run).dtypes), read.__name__


def test_two_runs_differ_only_when_their_intervals_do(tmp_path: Path) -> None:
    first, same, slower = bench(tmp_path / "a"), bench(tmp_path / "b", slower=1.1), bench(tmp_path / "c", slower=2)
    alike = runs.compare_runs(first, same).set_index("metric")
    assert not bool(alike.loc["PostgreSQL over memory", "differs"])
    apart = runs.compare_runs(first, slower).set_index("metric")
    assert bool(apart.loc["PostgreSQL over memory", "differs"])
    assert apart.loc["PostgreSQL over memory", "change_ratio"] == pytest.approx(1.0)


def test_load_test_gives_its_distribution_its_audit_and_one_time_axis(tmp_path: Path) -> None:
    run = load(tmp_path)
    latency = runs.latency(run).set_index("name")
    assert latency.loc["receive-message talker", ["p50_ms", "p95_ms", "max_ms"]].to_list() == [1.0, 8.0, 8.0]
    assert pd.isna(latency.loc["typing", "p50_ms"])
    assert runs.distribution(run)["samples"].sum() == 4
    assert runs.audit(run)["dropped"].sum() == 0
    assert runs.capacity(run)["outcome"].to_list() == ["held"]
    line = runs.timeline(run)
    assert line["elapsed_ms"].to_list() == [0, 1000, 2000]
    assert line["users"].to_list() == [0, 5, 10]
    assert line["commits_per_second"].iloc[1:].to_list() == pytest.approx([20, 20])
    watch = pd.DataFrame({"taken_at": line["taken_at"], "sessions": [1, 2, 3]})
    assert runs.timeline(run, watch=watch)["watched_sessions"].to_list() == [1, 2, 3]


def test_newest_valid_run_of_a_kind_is_found(tmp_path: Path) -> None:
    bench(tmp_path / "old")
    bench(tmp_path / "new", slower=2, valid=False)
    load(tmp_path / "load" / "one")
    assert runs.find_run(tmp_path, "bench").id == "run-1.0"
    assert runs.find_run(tmp_path, "loadtest", "steady").id == "load-1"
    with pytest.raises(OperatorError, match="no monitoring run"):
        runs.find_run(tmp_path, "monitoring")
    with pytest.raises(OperatorError, match="this needs a loadtest run"):
        runs.repetitions(runs.find_run(tmp_path, "bench"))


@pytest.mark.parametrize("content", ["", "[]", '{"schema_version": 99}'])
def test_file_that_is_no_run_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(OperatorError):
        runs.load_run(tmp_path)
    with pytest.raises(OperatorError, match="No run at"):
        runs.load_run(tmp_path / "nothing")


def test_answers_follow_from_the_data(tmp_path: Path) -> None:
    run = bench(tmp_path / "bench")
    said = answers.backend(run)
    assert said.startswith("**No message is lost when a process is killed.**")
    assert "- Data survive a crash (no → yes): ✓ nothing acknowledged was lost" in said
    assert "It is made up." in said
    assert "grows about linearly (exponent 1.00, 0.90 to 1.10)" in answers.growth(run)
    assert answers.growth(run).startswith("**On PostgreSQL search users grows with the size.**")
    assert "10 µs" in answers.durability(run)
    assert "memory, chat server killed: 0 of 50 acknowledged messages were kept" in answers.durability(run)
    felt = answers.load(load(tmp_path / "load"))
    assert "half of 4 pushes took at most 1 ms, 99 % at most 8 ms" in felt
    found = answers.capacity(runs.load_run(tmp_path / "load"), run)
    assert found.startswith("**PostgreSQL: at least 10 users.**")
    assert "PostgreSQL: more were not tried" in found


def test_answer_from_an_invalid_run_says_so_first(tmp_path: Path) -> None:
    assert answers.backend(bench(tmp_path, valid=False)).startswith("**These figures must not be quoted")
    assert "too busy" in runs.load_run(tmp_path).describe()


def test_recording_gives_back_its_original_frames(chat: Monitor, tmp_path: Path) -> None:
    run = runs.load_run(record(chat, tmp_path, seconds=1.0))
    assert run.kind == "monitoring"
    for name in ("room_stats", "sessions", "orphans", "growth"):
        live, kept = chat.frame(name), runs.monitored(run, name)
        assert dict(kept.dtypes) == dict(live.dtypes), name
        still = [column for column in live.columns if not column.endswith("_ms")]
        pd.testing.assert_frame_equal(kept[still], live[still], check_exact=False)
    assert len(runs.monitored(run, "watch")) >= 1
    assert "messages" in answers.monitoring(run)


@pytest.mark.parametrize("column", DEVIATIONS)
def test_load_test_states_each_kind_of_deviation(tmp_path: Path, column: str) -> None:
    run = load(tmp_path / "load")
    assert "none was lost, doubled or out of order" in answers.load(run)
    run.record["repetitions"][0]["locust"]["audit"]["rows"][0][column] = 2
    assert f"2 {column.replace('_', ' ')}" in answers.load(run)


def test_load_test_of_schema_version_1_gives_the_same_frames(tmp_path: Path) -> None:
    run = load(tmp_path)
    older = run.record | {"schema_version": 1}
    older["turns"] = [each | {"store": "postgres"} for each in older.pop("repetitions")]
    (tmp_path / "result.json").write_text(json.dumps(older))
    again = runs.load_run(tmp_path)
    assert again.record == run.record
    assert runs.repetitions(again)["store"].to_list() == ["postgresql"]
    assert runs.latency(again)["repetition"].to_list() == [1, 1]
    assert len(runs.timeline(again, 1)) == 3


def test_benchmark_of_schema_version_1_gives_the_same_frames(tmp_path: Path) -> None:
    run = bench(tmp_path)
    read: tuple[Callable[[runs.Run], pd.DataFrame], ...]
    read = (runs.baselines, runs.distributions, runs.samples, runs.growth)
    frames = [each(run) for each in read]
    older = run.record | {"schema_version": 1}
    older |= {"floors": older.pop("baselines"), "marks": older.pop("targets")}
    (tmp_path / "result.json").write_text(json.dumps(older))
    for name in ("samples.parquet", "distributions.parquet"):
        table = pq.read_table(tmp_path / name)
        columns = ["contestant" if column == "subject" else column for column in table.column_names]
        pq.write_table(table.rename_columns(columns), tmp_path / name)
    again = runs.load_run(tmp_path)
    assert again.record == run.record
    for each, frame in zip(read, frames, strict=True):
        pd.testing.assert_frame_equal(each(again), frame)
    assert len(runs.samples(again, subject="memory")) == 6


@pytest.mark.parametrize("kind", ["latest", "load/steady", "load/capacity"])
def test_published_run_has_the_present_names(kind: str) -> None:
    run = runs.load_run(ROOT / "reports" / kind)
    if run.kind == "loadtest":
        assert set(runs.repetitions(run)["store"]) == {"memory", "postgresql"}
        assert len(runs.timeline(run, 2))
    else:
        assert len(runs.baselines(run))
        assert "memory" in set(runs.distributions(run)["subject"])
