"""The scalar types on the wire, with their constraints for the schemas (contract §1.4, §1.5, §4.1, §6 and §8.3).

Outgoing values are not checked against them, so they cost nothing. ``chatsys.model.rules`` checks incoming values.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from chatsys.model import rules

_TEXT = r"^[^\u0000]*$"
_NAMED = r"^(?=.*\S)[^\u0000]*$"

Success = Annotated[bool, Meta(extra_json_schema={"const": True})]
Refused = Annotated[bool, Meta(extra_json_schema={"const": False})]

Timestamp = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", description="UTC, milliseconds.")]
Id = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", description="A UUID in lower case.")]
UserId = Annotated[str, Meta(min_length=1, max_length=rules.GUEST_ID_MAX, description="A UUID, or a guest's own id.")]
Status = Annotated[str, Meta(extra_json_schema={"enum": ["online", "offline"]})]
Count = Annotated[int, Meta(ge=0)]
Seq = Annotated[int, Meta(ge=1, description="Counts 1, 2, 3, ... in each room.")]

Text = Annotated[str, Meta(pattern=_TEXT)]
Username = Annotated[str, Meta(min_length=3, max_length=30, pattern="^[A-Za-z0-9_]+$")]
Email = Annotated[str, Meta(max_length=255, pattern=r"^[^\s@\u0000]+@[^\s@\u0000]+\.[^\s@\u0000]+$")]
Password = Annotated[str, Meta(min_length=6, max_length=100, pattern=_TEXT)]
DisplayName = Annotated[str, Meta(max_length=rules.DISPLAY_NAME_MAX, pattern=_TEXT)]
Room = Annotated[str, Meta(max_length=rules.ROOM_NAME_MAX, pattern=_NAMED, description="1 to 100 characters.")]
GuestName = Annotated[str, Meta(max_length=rules.GUEST_NAME_MAX, pattern=_NAMED)]
Written = Annotated[str, Meta(pattern=_NAMED, description="Not blank.")]
ClientId = Annotated[str, Meta(min_length=1, max_length=rules.CLIENT_MESSAGE_ID_MAX, pattern=_TEXT)]
