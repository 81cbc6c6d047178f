"""Read the metrics of a chat server at ``/metrics``."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from urllib.error import URLError

from prometheus_client.parser import text_string_to_metric_families

SECONDS = 1.0
"""Seconds that the server may take to answer; the screen waits no longer."""

Samples = Mapping[str, float]
"""Values by sample name and label values, as ``name/value``; a histogram's bucket as ``name/value{le}``."""


def metrics(url: str) -> Samples | None:
    """The samples of the server at ``url``, or None if it does not answer or has no such page."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/metrics", timeout=SECONDS) as answer:  # noqa: S310 - http alone
            text = answer.read(4 << 20).decode("utf-8", "replace")
        families = list(text_string_to_metric_families(text))
    except (URLError, OSError, ValueError):
        return None
    found = {}
    for family in families:
        for sample in family.samples:
            others = "".join(f"/{value}" for label, value in sample.labels.items() if label != "le")
            bucket = f"{{{sample.labels['le']}}}" if "le" in sample.labels else ""
            found[f"{sample.name}{others}{bucket}"] = sample.value
    return found


def quantile(before: Samples, after: Samples, histogram: str, share: float, label: str = "") -> float | None:
    """The value below which ``share`` of the observations between the two samples lie, interpolated within its bucket.

    None if there were no observations. As in Prometheus' histogram_quantile, the highest bucket gives its lower bound.
    """
    prefix = f"{histogram}_bucket{f'/{label}' if label else ''}{{"
    bounds = sorted(
        (float(name[len(prefix) : -1].replace("+Inf", "inf")), value - before.get(name, 0.0))
        for name, value in after.items()
        if name.startswith(prefix)
    )
    if not bounds or bounds[-1][1] <= 0:
        return None
    wanted, lower, below = share * bounds[-1][1], 0.0, 0.0
    for upper, count in bounds:
        if count >= wanted:
            inside = (wanted - below) / (count - below) if count > below else 0.0
            return lower if upper == float("inf") else lower + (upper - lower) * inside
        lower, below = upper, count
    return lower
