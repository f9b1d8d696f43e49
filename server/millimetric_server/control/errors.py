"""The two ways in which the control plane says no: the caller's mistake, and the database's absence."""


class ControlError(Exception):
    """A request that cannot be done as asked; the message is a sentence for the person who asked."""


class ControlUnavailableError(Exception):
    """The control database did not answer or did not do its work; what was asked may be tried again."""
