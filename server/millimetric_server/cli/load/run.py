"""The load itself: rows into batches, batches to the server, outcomes into the state."""

import itertools
from collections.abc import Iterator, Sequence

from millimetric.v1 import event_pb2, ingest_service_pb2
from millimetric_server.api.errors import Reason, Violation
from millimetric_server.cli.load.batch_sender import BatchSender
from millimetric_server.cli.load.rows import Row
from millimetric_server.cli.load.state import LoadState, RejectedFile
from millimetric_server.cli.load.summary import REASONS_SHOWN, explain_row

_BATCH_BYTES_MAX = 4 * 1024 * 1024  # a thousand events of the largest size would be beyond the server's limit

Rejected = tuple[Row, str, Sequence[Violation]]


class Loading:
    """Sends rows and keeps the state up to date with what the server acknowledged."""

    def __init__(self, sender: BatchSender, state: LoadState, rejected: RejectedFile, batch_size: int) -> None:
        self._sender = sender
        self._state = state
        self._rejected = rejected
        self._batch_size = batch_size

    def run(self, rows: Iterator[Row]) -> Iterator[None]:
        """Send all rows; yields None after each batch, when the state is up to date. Raises SendError."""
        while batch := list(itertools.islice(rows, self._batch_size)):
            for part in _split_by_size(batch):
                self._send(part)
                yield

    def _send(self, rows: Sequence[Row]) -> None:
        rejected: list[Rejected] = [
            (row, Reason.INVALID_PAYLOAD.value, row.event) for row in rows if isinstance(row.event, tuple)
        ]
        good = [(row, row.event) for row in rows if not isinstance(row.event, tuple)]
        if good:
            response = self._sender.send([event for _, event in good])
            for (row, _), outcome in zip(good, response.outcomes, strict=True):
                if outcome.outcome == ingest_service_pb2.OUTCOME_STORED:
                    self._state.stored += 1
                elif outcome.outcome == ingest_service_pb2.OUTCOME_DUPLICATE:
                    self._state.duplicate += 1
                elif outcome.outcome == ingest_service_pb2.OUTCOME_DROPPED:
                    self._state.dropped[outcome.reason] = self._state.dropped.get(outcome.reason, 0) + 1
                else:
                    rejected.append((row, outcome.reason, _read_errors(outcome)))
        rejected.sort(key=lambda one: one[0].line)
        self._state.rejected_bytes = self._rejected.write(rejected)
        self._state.rejected += len(rejected)
        room = REASONS_SHOWN - len(self._state.reasons)
        self._state.reasons += [explain_row(row.line, errors, reason) for row, reason, errors in rejected[:room]]
        self._state.rows += len(rows)


def _read_errors(outcome: ingest_service_pb2.EventOutcome) -> list[Violation]:
    return [Violation(error.field, error.message) for error in outcome.field_errors]


def _split_by_size(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    start, size = 0, 0
    for index, row in enumerate(rows):
        own = row.event.ByteSize() if isinstance(row.event, event_pb2.Event) else 0
        if size + own > _BATCH_BYTES_MAX and index > start:
            yield rows[start:index]
            start, size = index, 0
        size += own
    yield rows[start:]
