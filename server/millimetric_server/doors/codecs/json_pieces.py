"""JSON lists taken apart without building what they hold.

Parsed, a body can take a hundred times its size in memory, so only a bounded number of items is ever built.
"""

import msgspec
from msgspec import Raw
from msgspec.structs import astuple

from millimetric_server.api.limits import BATCH_EVENTS_MAX
from millimetric_server.api.messages import NO_JSON

# msgspec counts a list when it is built. An object that is written as an array is counted on the way: decoding ends
# with the first item that it has no place for.
_decode_items = msgspec.json.Decoder(
    msgspec.defstruct(
        "_Items",
        [(f"item_{number}", Raw, NO_JSON) for number in range(BATCH_EVENTS_MAX)],
        array_like=True,
        forbid_unknown_fields=True,
        gc=False,
    )
).decode


class TooManyItemsError(msgspec.ValidationError):
    """A list holds more than BATCH_EVENTS_MAX items."""


def split_list(raw: bytes | Raw) -> list[Raw]:
    """Split a list into its items. Raises TooManyItemsError, msgspec.ValidationError, msgspec.DecodeError."""
    try:
        items = astuple(_decode_items(raw))
    except msgspec.ValidationError as error:
        if "at most length" in str(error):
            raise TooManyItemsError from None
        raise
    return [item for item in items if item is not NO_JSON]
