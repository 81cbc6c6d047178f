"""Makes docs/METRICS.md and docs/monitoring/grafana.json from ``chatsys.metrics``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client import REGISTRY

from chatsys import metrics

HERE = Path(__file__).resolve().parents[1]
PAGE, DASHBOARD, RULES = HERE / "METRICS.md", HERE / "monitoring/grafana.json", HERE / "monitoring/alerts.yml"
_SOURCE = {"type": "prometheus", "uid": "${source}"}


class Panel(NamedTuple):
    """One chart of the dashboard: its lines by legend, and Grafana's name of the unit."""

    title: str
    unit: str
    lines: dict[str, str]


def _quantile(share: float, metric: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket[1m])))"


ALERTS = {
    "ChatsysDown": ("a server does not answer", "read its log; the other servers continue"),
    "ChatsysSlowAcknowledgements": (
        "messages take longer than half a second to be acknowledged (p99)",
        "run `chatsys doctor` and `chatsys monitor blocking`: usually the database or its disk is slow",
    ),
    "ChatsysUnavailable": (
        "more than one in a hundred HTTP requests is answered with a 5xx status",
        "`GET /api/ready` says why; [ERRORS.md](ERRORS.md) has each code",
    ),
    "ChatsysPoolExhausted": (
        "requests wait for a connection to the database",
        "raise `DB_POOL_SIZE` if the database is idle; look for slow statements if it is not",
    ),
    "ChatsysEventLoopLag": (
        "a process answers late because it is busy",
        "use more processes (`CHATSYS_WORKERS`) or servers",
    ),
    "ChatsysSlowReaders": (
        "clients are closed because they do not read",
        "check the clients' network, and whether `CHATSYS_SEND_BUFFER_BYTES` is too small for your rooms",
    ),
    "ChatsysBusOutage": (
        "no messages arrived over the bus between servers",
        "check the broker, or PostgreSQL; nothing is lost, because servers read the rooms from the store again",
    ),
    "ChatsysBusForged": (
        "somebody without the bus key sends messages on the bus",
        "find out who can reach the broker or the database",
    ),
}
"""Each rule of alerts.yml: what it means, and what to do."""
PANELS = (
    Panel("Connections and sessions", "short", {
        "connections": "sum(chatsys_connections)", "sessions": "max(chatsys_sessions)", "rooms": "max(chatsys_rooms)",
    }),
    Panel("Messages and deliveries", "ops", {
        "messages": "sum(rate(chatsys_messages_total[1m]))", "deliveries": "sum(rate(chatsys_deliveries_total[1m]))",
    }),
    Panel("Acknowledgement of an event, p99", "s", {"{{event}}": _quantile(0.99, "chatsys_ack_seconds", "event")}),
    Panel("HTTP requests, p99", "s", {"{{method}}": _quantile(0.99, "chatsys_http_seconds", "method")}),
    Panel("HTTP answers by status", "ops", {"{{status}}": "sum by (status) (rate(chatsys_http_seconds_count[1m]))"}),
    Panel("Commit of a flush", "s", {
        "p50": _quantile(0.5, "chatsys_flush_seconds"), "p99": _quantile(0.99, "chatsys_flush_seconds"),
    }),
    Panel("Writes committed together", "short", {
        "mean": "sum(rate(chatsys_flush_size_sum[1m])) / sum(rate(chatsys_flush_size_count[1m]))",
    }),
    Panel("Wait for a database connection, p99", "s", {"p99": _quantile(0.99, "chatsys_pool_wait_seconds")}),
    Panel("Waiting for slow readers", "bytes", {"{{instance}}": "chatsys_waiting_bytes"}),
    Panel("Slow readers closed", "ops", {"{{instance}}": "rate(chatsys_slow_disconnects_total[5m])"}),
    Panel("Event loop lag", "s", {"{{instance}}": "chatsys_event_loop_lag_seconds"}),
    Panel("Bus between servers", "ops", {
        "{{direction}}": "sum by (direction) (rate(chatsys_bus_events_total[1m]))",
        "dropped: {{reason}}": "sum by (reason) (rate(chatsys_bus_dropped_total[1m]))",
    }),
)  # fmt: skip


def dashboard() -> dict[str, Any]:
    """A Grafana dashboard (schema 39) of two columns, with a menu of data sources at the top."""
    return {
        "title": "chatsys",
        "uid": "chatsys",
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": [{"name": "source", "type": "datasource", "query": "prometheus", "label": "Source"}]},
        "panels": [_panel(place, panel) for place, panel in enumerate(PANELS)],
    }


def _panel(place: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(place, 2)
    return {
        "id": place + 1,
        "title": panel.title,
        "type": "timeseries",
        "datasource": _SOURCE,
        "gridPos": {"x": 12 * column, "y": 8 * row, "w": 12, "h": 8},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
            for number, (legend, expression) in enumerate(panel.lines.items())
        ],
    }


def exported() -> set[str]:
    """Every name that a query may use: those of ``/metrics``, with the suffixes of counters and histograms."""
    names = set()
    for family in _families():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        names |= {family.name + suffix for suffix in suffixes}
    return names


def _families() -> list[Any]:
    own = [family for family in REGISTRY.collect() if family.name.startswith("chatsys_")]
    if not own:
        raise SystemExit(f"{metrics.__name__} has registered nothing")
    return sorted(own, key=lambda family: family.name)


def markdown() -> str:
    """The page."""
    lines = [
        "# Metrics",
        "",
        "<!-- Made by `make docs` from chatsys/metrics.py. -->",
        "",
        "`GET /metrics` shows these in Prometheus' text format (`CHATSYS_METRICS=off` removes the page). If several",
        "processes share a port, each answer has their totals. Names that begin with `process_` or `python_` are the",
        "client library's. Let only your own network read the page.",
        "",
        "| name | kind | what it counts or measures |",
        "|---|---|---|",
    ]
    lines += [
        f"| `{family.name}{'_total' if family.type == 'counter' else ''}` | {family.type} | {family.documentation} |"
        for family in _families()
    ]
    lines += [
        "",
        "Labels: `chatsys_http_seconds` has `method` and `status`, `chatsys_ack_seconds` has `event`,",
        "`chatsys_bus_events_total` has `direction` (sent, received), and `chatsys_bus_dropped_total` has `reason`",
        "(garbage, forged, repeated, overflow).",
        "",
        "## Scrape it",
        "",
        "```yaml",
        "scrape_configs:",
        "  - job_name: chatsys",
        "    static_configs:",
        "      - targets: [chat-1.internal:3001, chat-2.internal:3001]",
        "```",
        "",
        "## Alert rules",
        "",
        "[monitoring/alerts.yml](monitoring/alerts.yml) has rules for Prometheus. What each means, and what to do:",
        "",
        "| alert | meaning | what to do |",
        "|---|---|---|",
        *(f"| `{name}` | {meaning} | {help_} |" for name, (meaning, help_) in ALERTS.items()),
        "",
        "## Dashboard",
        "",
        "[monitoring/grafana.json](monitoring/grafana.json) is a Grafana dashboard: import it and choose the data",
        f"source at the top. It has {len(PANELS)} panels: {'; '.join(_small(panel.title) for panel in PANELS)}.",
    ]
    return "\n".join(lines) + "\n"


def _small(title: str) -> str:
    """The title in the middle of a sentence."""
    return title if title[:2].isupper() else title[0].lower() + title[1:]


def main() -> None:
    """Write the page and the dashboard."""
    PAGE.write_text(markdown())
    DASHBOARD.write_text(json.dumps(dashboard(), indent=2) + "\n")


if __name__ == "__main__":
    main()
