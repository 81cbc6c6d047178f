"""The AsyncAPI document of the events is valid, complete, and consistent with the golden samples.

asyncapi-3.0.0.json.gz is schemas/3.0.0.json of https://github.com/asyncapi/spec-json-schemas, unchanged; it is
licensed under the Apache License 2.0, Copyright the AsyncAPI Initiative.
"""

from __future__ import annotations

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from chatsys.wire import asyncapi, catalogue, events

from .test_golden import golden

SCHEMA = json.loads(gzip.decompress((Path(__file__).parent / "asyncapi-3.0.0.json.gz").read_bytes()))
OFFICIAL = jsonschema.Draft7Validator(SCHEMA)
DOCUMENT = asyncapi.document()
MESSAGES: dict[str, Any] = DOCUMENT["components"]["messages"]


def matches(name: str, value: Any) -> None:
    jsonschema.Draft7Validator({"allOf": [MESSAGES[name]["payload"]], "components": DOCUMENT["components"]}).validate(
        value
    )


def test_asyncapi_document_is_valid() -> None:
    assert [f"{error.json_path}: {error.message}" for error in OFFICIAL.iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize(
    ("part", "value"),
    [("asyncapi", "2.6.0"), ("info", {}), ("channels", []), ("operations", {"join": {"action": "publish"}})],
)
def test_document_that_is_wrong_is_not_valid(part: str, value: Any) -> None:
    assert not OFFICIAL.is_valid({**copy.deepcopy(DOCUMENT), part: value})


def test_every_reference_in_the_document_resolves() -> None:
    def references(part: Any) -> list[str]:
        if isinstance(part, dict):
            own = [part["$ref"]] if "$ref" in part else []
            return own + [found for value in part.values() for found in references(value)]
        return [found for value in part for found in references(value)] if isinstance(part, list) else []

    found = references(DOCUMENT)
    assert len(found) > 50
    for reference in set(found):
        part: Any = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]
        assert part


def test_every_event_is_an_operation() -> None:
    expected = {row.name: "send" for row in catalogue.OUTGOING} | {row.name: "receive" for row in catalogue.INCOMING}
    assert {name: row["action"] for name, row in DOCUMENT["operations"].items()} == expected
    assert set(MESSAGES) == {*expected, "JoinAnswer", "SendAnswer", "Done", "Failed"}


@pytest.mark.parametrize("row", [*catalogue.OUTGOING, *catalogue.INCOMING], ids=lambda row: row.name)
def test_golden_sample_conforms_to_its_message(row: catalogue.OutgoingEvent | catalogue.IncomingEvent) -> None:
    sample = golden("out" if isinstance(row, catalogue.OutgoingEvent) else "in", row.name)
    matches(row.name, sample)
    for wrong in (1, "text"):
        with pytest.raises(jsonschema.ValidationError):
            matches(row.name, wrong)
    if isinstance(row, catalogue.OutgoingEvent):
        first = sample[0] if isinstance(sample, list) else sample
        for field in first:
            less = {name: value for name, value in first.items() if name != field}
            with pytest.raises(jsonschema.ValidationError):
                matches(row.name, [less] if isinstance(sample, list) else less)


def test_golden_acknowledgement_conforms_to_its_message() -> None:
    for row in catalogue.INCOMING:
        matches(row.answer.__name__, golden("answers", "done" if row.answer is events.Done else row.name))
    matches("JoinAnswer", golden("answers", "join-as-guest"))
    matches("Failed", golden("answers", "failed"))
    with pytest.raises(jsonschema.ValidationError):
        matches("Done", golden("answers", "failed"))


@pytest.mark.parametrize("name", MESSAGES)
def test_every_example_conforms_to_its_message(name: str) -> None:
    message = MESSAGES[name]
    shown = [each["payload"] for each in message.get("examples", ())] + message["payload"].get("examples", [])
    assert shown or name == catalogue.LEAVE_ROOM
    for value in shown:
        matches(name, value)
