"""The placeholder in a batch for an event that can't be decoded."""

from millimetric_server.api.errors import Violation
from millimetric_server.api.messages import Event


class UndecodableEvent(Event):
    """An event whose JSON or protobuf has wrong types, so that the others can still be judged."""

    violations: tuple[Violation, ...] = ()
