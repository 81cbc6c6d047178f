"""Match the different ids, times and tokens that two servers give to the same thing, and find what else differs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_EPOCH = re.compile(r"\b[0-9a-f]{32}\b")
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_SOCKETS = frozenset({"socketId", "sid"})
"""Fields that hold the id of a connection."""
KNOWN_MOST = 200_000
"""Maximum number of ids kept; the oldest are dropped."""
ABSENT = "absent"
_KEYS = ("id", "userId")
"""Fields that identify the elements of a list: messages, and users."""
Twin: TypeAlias = Callable[[str], str]
"""Takes an id of the original and returns the shadow's."""


class Difference(NamedTuple):
    """A path in an answer (``data[].bio``), and the value that each server has there."""

    path: str
    original: Any
    shadow: Any


def differences(original: Any, shadow: Any, path: str = "", twin: Twin = str) -> Iterator[Difference]:
    """What the shadow's answer lacks or has differently. It may have more fields, because additions break no client.

    Messages and users in lists are compared with their twins. A different order counts as one difference, because two
    servers may number concurrent messages differently.
    """
    if isinstance(original, Mapping) and isinstance(shadow, Mapping):
        for name, value in original.items():
            where = f"{path}.{name}" if path else str(name)
            if name not in shadow:
                yield Difference(where, value, ABSENT)
            elif name not in _SOCKETS:
                yield from differences(value, shadow[name], where, twin)
    elif isinstance(original, list | tuple) and isinstance(shadow, list | tuple):
        if len(original) != len(shadow):
            yield Difference(f"{path}[] elements", len(original), len(shadow))
        paired = _paired(original, shadow, twin)
        if paired is None:
            pairs = list(zip(original, shadow, strict=False))
        else:
            pairs = [(original[ours], shadow[theirs]) for ours, theirs in paired]
            if any(after < before for (_, before), (_, after) in pairwise(paired)):
                yield Difference(f"{path}[] order", *(_names(side) for side in (original, shadow)))
            if len(original) == len(shadow) != len(paired):
                yield Difference(f"{path}[] others", len(original) - len(paired), "others")
        for ours, theirs in pairs:
            yield from differences(ours, theirs, f"{path}[]", twin)
    elif original != shadow and (_kind(original) is None or _kind(original) is not _kind(shadow)):
        yield Difference(path or "the whole", original, shadow)


def _paired(original: Sequence[Any], shadow: Sequence[Any], twin: Twin) -> list[tuple[int, int]] | None:
    """Pairs of indexes of elements that are twins, in the original's order; None if the elements have no ids."""
    for key in _KEYS:
        ours, theirs = (
            [str(each[key]) for each in side if isinstance(each, Mapping) and isinstance(each.get(key), str)]
            for side in (original, shadow)
        )
        if (len(ours), len(theirs)) == (len(original), len(shadow)):
            indexes = {name: index for index, name in enumerate(theirs)}
            found = [(index, indexes[twin(name)]) for index, name in enumerate(ours) if twin(name) in indexes]
            return found or None
    return None


def _names(side: Sequence[Any]) -> str:
    """The first elements, by message text or username."""
    return ", ".join(str(each.get("message") or each.get("username"))[:20] for each in side[:3])


def ids_in(value: Any) -> set[str]:
    """All UUIDs in a value."""
    if isinstance(value, str):
        return set(_UUID.findall(value))
    if isinstance(value, Mapping):
        value = list(value.values())
    return set().union(*map(ids_in, value)) if isinstance(value, list | tuple) else set()


class Twins:
    """Maps each id or token of the original to the shadow's, if the two differ."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def learn(self, original: Any, shadow: Any) -> None:
        """Learn ids from two answers: values at the same path are twins. In lists, only equal elements count."""
        if isinstance(original, Mapping) and isinstance(shadow, Mapping):
            for name in original.keys() & shadow.keys():
                self.learn(original[name], shadow[name])
        elif isinstance(original, list | tuple) and isinstance(shadow, list | tuple):
            for ours, theirs in zip(original, shadow, strict=False):
                if next(differences(ours, theirs), None) is None:
                    self.learn(ours, theirs)
        elif isinstance(original, str) and isinstance(shadow, str) and original != shadow:
            kind = _kind(original)
            if kind is not None and kind is not _TIME and kind is _kind(shadow):
                self._remember(original, shadow)

    def differences(self, original: Any, shadow: Any) -> Iterator[Difference]:
        """What differs, when elements of lists are compared with their known twins."""
        return differences(original, shadow, twin=lambda each: self._known.get(each, each))

    def knows(self, original: str) -> bool:
        """Whether the shadow's id is known."""
        return original in self._known

    def _remember(self, original: str, shadow: str) -> None:
        self._known.pop(original, None)
        self._known[original] = shadow
        if len(self._known) > KNOWN_MOST:
            del self._known[next(iter(self._known))]

    def translated(self, value: Any) -> Any:
        """The same value with the shadow's ids and tokens in place of the original's."""
        if isinstance(value, str):
            for kind in (_TOKEN, _UUID, _EPOCH):
                value = kind.sub(lambda found: self._known.get(found[0], found[0]), value)
            return value
        if isinstance(value, Mapping):
            return {name: self.translated(each) for name, each in value.items()}
        return [self.translated(each) for each in value] if isinstance(value, list | tuple) else value


def _kind(value: Any) -> re.Pattern[str] | None:
    """The pattern that a text matches: an id, a token or a time; None for any other value."""
    if not isinstance(value, str):
        return None
    return next((kind for kind in (_UUID, _EPOCH, _TOKEN, _TIME) if kind.fullmatch(value)), None)
