"""Why a call that waits for the store gets an error."""


class EventsDelayedError(Exception):
    """ClickHouse does not take the events now. They stay durable and are loaded later."""

    def __init__(self) -> None:
        super().__init__(
            "the events are durable, but the analytics store does not take them now: they are loaded later"
        )


class EventsRefusedError(Exception):
    """ClickHouse refused an event, which is a dead letter now."""

    def __init__(self) -> None:
        super().__init__(
            "the analytics store refused an event; it is durable, and kept as a dead letter for the operator"
        )
