"""Free-form JSON objects: properties of events and traits of people."""

import math
from typing import Any

import msgspec

from millimetric_server.api.limits import PROPERTIES_BYTES_MAX

DEPTH_MAX = 32
INTEGER_MAX = 2**53  # beyond it, JSON readers that use doubles return another number
EMPTY = "{}"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
# A run of 16 digits may be an integer beyond 2^53. All digits made 0, a plain search finds it six times as fast.
_TO_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 16
_SPACE = b" \t\r\n"
_ESCAPED_BYTES = 6  # of `\u0061`, which is one byte when it is compact


def read_properties(text: bytes | str) -> str:
    """Return a JSON object as compact text, the same value as was sent; absent or null is `{}`.

    Raises ValueError with a sentence for the caller.
    """
    if not text or text in (b"null", "null"):
        return EMPTY
    if _is_surely_too_long(text):  # before it is built, which takes 30 times as much
        raise ValueError(f"must be at most {PROPERTIES_BYTES_MAX} bytes as compact JSON")
    try:
        value = _decode(text)
        compact = _encode(value)
    except RecursionError:
        raise ValueError(f"must not be nested deeper than {DEPTH_MAX} levels") from None
    except msgspec.ValidationError as error:
        raise ValueError(_explain(str(error))) from None
    except (msgspec.DecodeError, UnicodeError, ValueError, OverflowError):
        raise ValueError("must be a JSON object; NaN and Infinity are not JSON") from None
    if len(compact) > PROPERTIES_BYTES_MAX:
        raise ValueError(f"must be at most {PROPERTIES_BYTES_MAX} bytes as compact JSON, not {len(compact)}")
    if compact.count(b"{") + compact.count(b"[") > DEPTH_MAX or _LONG_NUMBER in compact.translate(_TO_ZEROS):
        _check_values(value, DEPTH_MAX)
    return compact.decode()


def _is_surely_too_long(text: bytes | str) -> bool:
    """Tell whether even the shortest compact form is too long."""
    if len(text) <= PROPERTIES_BYTES_MAX * _ESCAPED_BYTES:
        return False
    content = text if isinstance(text, bytes) else text.encode()
    return len(content.translate(None, _SPACE)) > PROPERTIES_BYTES_MAX * _ESCAPED_BYTES


def _check_values(value: Any, levels: int) -> None:
    if isinstance(value, dict | list):
        if levels == 0:
            raise ValueError(f"must not be nested deeper than {DEPTH_MAX} levels")
        for item in value.values() if isinstance(value, dict) else value:
            _check_values(item, levels - 1)
    elif isinstance(value, int) and abs(value) > INTEGER_MAX:
        raise ValueError("must not contain an integer beyond 2^53, which loses digits in JSON: send it as a string")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must not contain a number that is not finite")


def _explain(error: str) -> str:
    return "must not contain a number out of range" if "out of range" in error else "must be a JSON object"
