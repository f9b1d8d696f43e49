"""The two errors of the control plane: the caller's mistake, and an unreachable database."""


class ControlError(Exception):
    """A request that cannot be done as asked; the message is a sentence for the person who asked."""


class ControlUnavailableError(Exception):
    """The control database did not answer or did not do its work; what was asked may be tried again."""
