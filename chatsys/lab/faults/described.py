"""Requests that schemathesis makes of ``/openapi.json``: such as it describes, and such as it does not.

Schemathesis is a library of the tests; only `make faults`, which runs in a checkout, needs it.
"""

from __future__ import annotations

import logging
from typing import Any

import hypothesis

BATCH = 500
"""Cases of one round: Hypothesis remembers all that it has made in one."""

TIMEOUT = 30.0
"""Seconds until a request counts as not answered."""

log = logging.getLogger(__name__)


def send(url: str, cases: int, seed: int) -> int:
    """Send ``cases`` requests to a server; how many answers were a 500, none at all, or unlike the document.

    Every request carries the token of an account that is made for it, so that endpoints for owners are passed too.
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
        made = session.post(f"{url}/api/auth/register", json=account, timeout=TIMEOUT).json()
        session.headers["x-access-token"] = made["token"]

        def ask(case: Any) -> None:
            nonlocal wrong
            try:
                answer = case.call(base_url=url, session=session, timeout=TIMEOUT)
                case.validate_response(answer, checks=checks)
            except (Failure, FailureGroup, requests.RequestException) as error:
                wrong += 1
                log.warning("%s: %s", case.operation.label, error)

        for number, begun in enumerate(range(0, cases, BATCH)):
            size = min(BATCH, cases - begun)
            _each(_strategy(schemathesis.openapi.from_dict(document)), size, seed + number, ask)
    return wrong


def _strategy(schema: Any) -> Any:
    """All endpoints alike, right and wrong requests alike."""
    from schemathesis.generation import GenerationMode

    operations = [found.ok() for found in schema.get_all_operations()]
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    return hypothesis.strategies.one_of(
        *[each.as_strategy(generation_mode=mode) for each in operations for mode in modes]
    )


def _each(strategy: Any, size: int, seed: int, ask: Any) -> None:
    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=size,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(strategy)
    def one(case: Any) -> None:
        ask(case)

    one()
