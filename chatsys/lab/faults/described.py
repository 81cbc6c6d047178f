"""Valid and invalid requests that schemathesis generates from ``/openapi.json``.

Schemathesis is a test dependency. Only `make faults`, which runs in a checkout, needs it.
"""

from __future__ import annotations

import logging
from typing import Any

import hypothesis

BATCH = 500
"""Cases of one Hypothesis run, which keeps all of its cases in memory."""

TIMEOUT = 30.0
"""Seconds until a request counts as unanswered."""

log = logging.getLogger(__name__)


def send(url: str, cases: int, seed: int) -> int:
    """Send ``cases`` requests to a server; return how many got a 500, no answer, or one that breaks the document.

    The requests carry the token of a new account, so that they also reach endpoints that need one.
    """
    import requests
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.core.failures import Failure, FailureGroup
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    checks = [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
    ]
    wrong = 0
    with requests.Session() as session:
        document = session.get(f"{url}/openapi.json", timeout=TIMEOUT).json()
        account = {"username": f"fuzz_{seed}", "email": f"fuzz_{seed}@example.org", "password": "a password"}
        registered = session.post(f"{url}/api/auth/register", json=account, timeout=TIMEOUT).json()
        session.headers["x-access-token"] = registered["token"]

        def check(case: Any) -> None:
            nonlocal wrong
            try:
                answer = case.call(base_url=url, session=session, timeout=TIMEOUT)
                case.validate_response(answer, checks=checks)
            except (Failure, FailureGroup, requests.RequestException) as error:
                wrong += 1
                log.warning("%s: %s", case.operation.label, error)

        for number, start in enumerate(range(0, cases, BATCH)):
            size = min(BATCH, cases - start)
            _run_batch(_strategy(schemathesis.openapi.from_dict(document)), size, seed + number, check)
    return wrong


def _strategy(schema: Any) -> Any:
    """All endpoints equally often, with valid and invalid requests equally often."""
    from schemathesis.generation import GenerationMode

    operations = [found.ok() for found in schema.get_all_operations()]
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    return hypothesis.strategies.one_of(
        *[each.as_strategy(generation_mode=mode) for each in operations for mode in modes]
    )


def _run_batch(strategy: Any, size: int, seed: int, check: Any) -> None:
    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=size,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy)
    def check_all(case: Any) -> None:
        check(case)

    check_all()
