"""The API as a list, for tests that ask what it has and call none of it."""

from typing import Any

from millimetric_server.rpcs import make_rpcs

_NOTHING: Any = None

RPCS = make_rpcs(_NOTHING, _NOTHING, _NOTHING)
