"""Two servers give the same thing different ids, times and tokens: which mean the same, and what else differs."""

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
"""Fields whose texts name a connection."""
KNOWN_MOST = 200_000
"""Ids that are remembered; the oldest are forgotten."""
ABSENT = "absent"
_KEYS = ("id", "userId")
"""What tells the elements of a list apart: messages, and users."""
Twin: TypeAlias = Callable[[str], str]
"""The shadow's id for one of the original's."""


class Difference(NamedTuple):
    """Where in an answer (``data[].bio``), and what each of the two has there."""

    path: str
    original: Any
    shadow: Any


def differences(original: Any, shadow: Any, path: str = "", twin: Twin = str) -> Iterator[Difference]:
    """What the shadow's answer lacks or has otherwise. It may have more fields: additions break no client.

    Messages and users in lists are compared with their twins, and their order is one difference: where several write at
    once, two servers may well number them in another order.
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
    """The places of the elements that are twins, in the original's order; None if they can't be told apart by an id."""
    for key in _KEYS:
        ours, theirs = (
            [str(each[key]) for each in side if isinstance(each, Mapping) and isinstance(each.get(key), str)]
            for side in (original, shadow)
        )
        if (len(ours), len(theirs)) == (len(original), len(shadow)):
            places = {name: place for place, name in enumerate(theirs)}
            found = [(place, places[twin(name)]) for place, name in enumerate(ours) if twin(name) in places]
            return found or None
    return None


def _names(side: Sequence[Any]) -> str:
    """The first elements, as a reader knows them."""
    return ", ".join(str(each.get("message") or each.get("username"))[:20] for each in side[:3])


def ids_in(value: Any) -> set[str]:
    """The ids anywhere in a value."""
    if isinstance(value, str):
        return set(_UUID.findall(value))
    if isinstance(value, Mapping):
        value = list(value.values())
    return set().union(*map(ids_in, value)) if isinstance(value, list | tuple) else set()


class Twins:
    """The shadow's id or token for each of the original's that differs."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def learn(self, original: Any, shadow: Any) -> None:
        """Two answers: what stands at the same place means the same, but in lists only elements that are alike."""
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
        """What differs, with elements of lists beside their twins."""
        return differences(original, shadow, twin=lambda each: self._known.get(each, each))

    def knows(self, original: str) -> bool:
        """Whether the shadow's own is known."""
        return original in self._known

    def _remember(self, original: str, shadow: str) -> None:
        self._known.pop(original, None)
        self._known[original] = shadow
        if len(self._known) > KNOWN_MOST:
            del self._known[next(iter(self._known))]

    def translated(self, value: Any) -> Any:
        """The same for the shadow: its ids and tokens in place of the original's."""
        if isinstance(value, str):
            for kind in (_TOKEN, _UUID, _EPOCH):
                value = kind.sub(lambda found: self._known.get(found[0], found[0]), value)
            return value
        if isinstance(value, Mapping):
            return {name: self.translated(each) for name, each in value.items()}
        return [self.translated(each) for each in value] if isinstance(value, list | tuple) else value


def _kind(value: Any) -> re.Pattern[str] | None:
    """What a text is an example of: an id, a token or a time; None for any other."""
    if not isinstance(value, str):
        return None
    return next((kind for kind in (_UUID, _EPOCH, _TOKEN, _TIME) if kind.fullmatch(value)), None)
