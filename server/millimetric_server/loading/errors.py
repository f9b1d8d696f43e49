"""What whoever waits for the store is told when it does not come to that."""


class EventsDelayedError(Exception):
    """ClickHouse does not take the events now. They stay durable and come later."""

    def __init__(self) -> None:
        super().__init__("the events are durable, but the analytics store does not take them now: they come later")


class EventsRefusedError(Exception):
    """ClickHouse refused an event, which is a dead letter now."""

    def __init__(self) -> None:
        super().__init__("the analytics store refused an event; it is durable and set aside for the operator")
