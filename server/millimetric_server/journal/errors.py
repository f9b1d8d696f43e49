"""The journal's exceptions. The doors turn them into errors of the API."""


class JournalError(Exception):
    """A journal can't do what was asked; the message says why and, where there is something to do, what."""


class JournalFileError(JournalError):
    """The journal can't be opened as it is."""


class JournalVersionError(JournalFileError):
    """The journal is of another version than this program: the message is for a newer one, which is never opened."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(f"the journal has version {found}, this server knows {known}: run a newer millimetric")
        self.found = found
        self.known = known


class NotAppendedError(JournalError):
    """A write was refused, and nothing of it is stored. The message may be shown to its caller."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class JournalFullError(NotAppendedError):
    """There is no room: what is there has to be loaded first."""


class JournalUnavailableError(NotAppendedError):
    """The journal can't write now, or may not: the disk refuses, or somebody has closed it."""


class LeadershipLostError(JournalError):
    """Another process has the right to load; nothing that is done under the lost one is kept."""

    def __init__(self) -> None:
        super().__init__("another process has taken over the loading of this journal")


class UnknownDeadLettersError(JournalError):
    """Some of the dead letters that were named are not there."""

    def __init__(self, dead_letter_ids: list[int]) -> None:
        super().__init__(f"no dead letter has the id {', '.join(map(str, dead_letter_ids))}")
        self.dead_letter_ids = dead_letter_ids
