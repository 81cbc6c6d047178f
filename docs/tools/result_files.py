"""Prints docs/RESULT_FILES.md: the fields of every record, from the types that write and read them."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_type_hints

import msgspec

from chatsys.lab.faults import record as faults
from chatsys.loadtesting import record as load
from chatsys.loadtesting.shapes import CapacityStep
from chatsys.loadtesting.validity import Measurements
from chatsys.results import audit, run

_FILES: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
    (
        "A benchmark: `result.json`",
        "Written by `chatsys bench`. Times are microseconds unless a name or a unit says otherwise. "
        "`chatsys.analytics.runs.load_run` reads it as pandas frames. In version 1 the fields `baselines` and "
        "`targets` were called `floors` and `marks`.",
        (
            run.Result, run.OperationResult, run.Ratio, run.Baseline, run.RatioTarget, run.Point, run.Fit, run.Count,
            run.StatementPlan, run.Survival, run.Judgement, run.ClaimPart, run.Timing, run.Interval,
        ),
    ),
    (
        "A load test: `locust.json`",
        "Written by `locust --out DIR`, and by `chatsys loadtest` once for each repetition.",
        (load.LocustResult, load.LocustFigure, load.Failure, audit.Audit, Measurements, CapacityStep),
    ),
    (
        "A suite of faults: `faults.json`",
        "Written by `make faults` into `reports/faults`. Times are seconds, latencies histograms of milliseconds.",
        (faults.FaultsResult, faults.FaultKind, faults.FaultRun, faults.Injection, faults.Caught),
    ),
)  # fmt: skip
_PARQUET = """\
## Samples: `samples.parquet`

One row for each timed call of a benchmark. pandas, Polars, DuckDB and Arrow read it.

| column | type | meaning |
|---|---|---|
| `experiment` | string | the experiment that made the call |
| `operation` | string | what was called |
| `subject` | string | what was measured: `memory`, `postgresql`, or a baseline; older files say `contestant` |
| `depth` | string | `store`, `http` or `socket`; ` x64` is added if 64 calls ran at once |
| `size` | integer | users or messages in the store, if the experiment varies it |
| `round` | integer | the round; ratios are formed within a round |
| `microseconds` | float | the duration of the call |

`distributions.parquet` has some fifty quantiles of each kind of sample. A published run keeps it, but not the samples.

## Each second: `samples.jsonl`

A load test writes one JSON object a line while it runs: `time` (Unix seconds), `users`, `push` and `ack` (`count`,
`p50`, `p95`, `p99`, `max` in milliseconds since the last line, or null), `failures` (so far) and `generators` (for each
process its share of a processor, and how late its timers were).
"""


def markdown() -> str:
    """The page."""
    lines = [
        "# Result files",
        "",
        "<!-- Made by `make docs` from the types in chatsys/results, chatsys/loadtesting and chatsys/lab/faults. -->",
        "",
        "Every run is a folder of plain files. JSON files name their `schema_version`; later versions of chatsys read",
        "earlier ones. A field with a default may be absent from an older file.",
    ]
    for title, about, types in _FILES:
        lines += ["", f"## {title}", "", about]
        for each in types:
            lines += ["", f"### {each.__name__}", "", _about(each), "", "| field | type | default |", "|---|---|---|"]
            lines += [_row(each, field) for field in msgspec.structs.fields(each)]
    return "\n".join([*lines, "", _PARQUET])


def _about(kind: Any) -> str:
    text = inspect.cleandoc(kind.__doc__ or "").replace("``", "`")
    return re.sub(r":\w+:`([^`]+)`", r"`\1`", text).replace("|", "\\|")


def _row(kind: Any, field: Any) -> str:
    shown = _type(get_type_hints(kind)[field.name])
    default = "" if field.required else "`" + str(_default(field)) + "`"
    return f"| `{field.encode_name}` | {shown} | {default} |"


def _default(field: Any) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return msgspec.json.encode(field.default).decode()
    return msgspec.json.encode(field.default_factory()).decode()


def _type(hint: Any) -> str:
    text = hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__origin__") else str(hint)
    text = re.sub(r"(?:[a-z_]+\.)+([A-Z]\w+)", r"\1", text).replace("typing.", "").replace("NoneType", "None")
    return "`" + text.replace("|", "or") + "`"


if __name__ == "__main__":
    print(markdown(), end="")
