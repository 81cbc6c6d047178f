"""Socket.IO's binary packets: bytes are taken out of outgoing data and put back into incoming data.

``{"_placeholder": true, "num": n}`` replaces bytes; the bytes follow, each as a binary message (Socket.IO protocol 5,
"BINARY_EVENT").
"""

from __future__ import annotations

from typing import Any

import msgspec

BYTES = (bytes, bytearray, memoryview)
_PLAIN = (str, int, float, type(None))


def has_binary(value: object) -> bool:
    """True if there are bytes anywhere in ``value``, which JSON can't carry."""
    if isinstance(value, _PLAIN):
        return False
    if isinstance(value, BYTES):
        return True
    if isinstance(value, dict):
        return any(map(has_binary, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(has_binary, value))
    return has_binary(msgspec.to_builtins(value, builtin_types=BYTES)) if hasattr(value, "__struct_fields__") else False


def taken_out(value: object) -> tuple[Any, list[bytes]]:
    """``value`` as JSON can carry it, with placeholders, and the bytes in their order."""
    buffers: list[bytes] = []
    return _replaced(msgspec.to_builtins(value, builtin_types=BYTES), buffers), buffers


def _replaced(value: Any, buffers: list[bytes]) -> Any:
    if isinstance(value, BYTES):
        buffers.append(bytes(value))
        return {"_placeholder": True, "num": len(buffers) - 1}
    if isinstance(value, dict):
        return {key: _replaced(each, buffers) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(each, buffers) for each in value]
    return value


def put_back(value: Any, buffers: list[bytes]) -> Any:
    """``value`` with its placeholders replaced by bytes. Raises ValueError for a placeholder without bytes."""
    if isinstance(value, dict):
        if value.get("_placeholder") is True:
            number = value.get("num")
            if not isinstance(number, int) or not 0 <= number < len(buffers):
                raise ValueError(f"no bytes came for the placeholder {number!r}")
            return buffers[number]
        return {key: put_back(each, buffers) for key, each in value.items()}
    if isinstance(value, list):
        return [put_back(each, buffers) for each in value]
    return value
