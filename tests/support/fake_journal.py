"""A journal for tests whose calls store nothing."""


class FakeJournal:
    """A journal that only takes notes of what was rejected or dropped."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, str, int]] = []

    def note(self, project_id: str, outcome: str, reason: str, events: int) -> None:
        """Keep a note, without its project."""
        del project_id
        self.noted.append((outcome, reason, events))
