"""What users of the Python client write. It is checked by mypy --strict, not run.

Lines that must be errors are marked, and --strict takes a mark that nothing needs for an error of its own.
"""

from collections.abc import Iterator

import grpc
import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from millimetric.v1 import (
    error_reason_pb2,
    event_pb2,
    ingest_service_connect,
    ingest_service_pb2,
    ingest_service_pb2_grpc,
    privacy_service_pb2,
    query_service_pb2,
    query_service_pb2_grpc,
)


def make_messages() -> ingest_service_pb2.BatchRequest:
    context = event_pb2.EventContext(ip="192.0.2.1", user_agent="Mozilla/5.0")
    event = event_pb2.Event(event="signup", user_id="u-17", timestamp=Timestamp(seconds=1), context=context)
    event.properties["plan"] = "pro"
    request = ingest_service_pb2.BatchRequest(
        events=[event], mode=ingest_service_pb2.BATCH_MODE_PER_EVENT, ack=ingest_service_pb2.Ack.ACK_STORED
    )
    request.events.append(event_pb2.Event(event="page", properties_json='{"n": 1}'))
    return request


def track(channel: grpc.Channel) -> str:
    stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
    answer = stub.Track(ingest_service_pb2.TrackRequest(event="signup"), timeout=5, metadata=(("authorization", "x"),))
    return "" if answer.duplicate else answer.event_id


def stream(channel: grpc.Channel, events: Iterator[event_pb2.Event]) -> Iterator[int]:
    requests = (
        ingest_service_pb2.TrackStreamRequest(sequence=number, event=event) for number, event in enumerate(events)
    )
    for answer in ingest_service_pb2_grpc.IngestServiceStub(channel).TrackStream(requests):
        if answer.outcome.outcome == ingest_service_pb2.OUTCOME_STORED:
            yield answer.sequence


async def ask(channel: grpc.aio.Channel) -> dict[str, int]:
    question = query_service_pb2.StatsRequest(
        group_by=["source"],
        interval=query_service_pb2.INTERVAL_DAY,
        filter=[query_service_pb2.Filter(column="country", op=query_service_pb2.FILTER_OP_IN, values=["DE", "AT"])],
    )
    answer = await query_service_pb2_grpc.QueryServiceStub(channel).Stats(question)
    return {row.source: row.value for row in answer.rows}


def track_over_connect(client: ingest_service_connect.IngestServiceClientSync) -> ingest_service_pb2.TrackResponse:
    return client.track(ingest_service_pb2.TrackRequest(event="signup"), timeout_ms=5000)


async def batch_over_connect(client: ingest_service_connect.IngestServiceClient) -> int:
    answer = await client.batch(make_messages())
    return answer.count


def is_worth_repeating(reason: str) -> bool:
    return error_reason_pb2.ErrorReason.Value(f"ERROR_REASON_{reason}") == error_reason_pb2.ERROR_REASON_OVERLOADED


def mistake_values() -> None:
    ingest_service_pb2.TrackRequest(event=5)  # type: ignore[arg-type]
    ingest_service_pb2.TrackRequest(evnt="signup")  # type: ignore[call-arg]
    ingest_service_pb2.TrackRequest(ack=2.5)  # type: ignore[arg-type]
    ingest_service_pb2.TrackRequest(context="192.0.2.1")  # type: ignore[arg-type]
    ingest_service_pb2.BatchRequest(events=["signup"])  # type: ignore[list-item]
    query_service_pb2.StatsRequest(group_by="source", limit="10")  # type: ignore[arg-type]
    privacy_service_pb2.ForgetRequest().user = "u-17"  # type: ignore[attr-defined]
    _ = ingest_service_pb2.ACK_LATER  # type: ignore[attr-defined]
    text: int = ingest_service_pb2.TrackResponse().event_id  # type: ignore[assignment]
    print(text)


def mistake_calls(channel: grpc.Channel, client: ingest_service_connect.IngestServiceClientSync) -> None:
    stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
    stub.Track(ingest_service_pb2.BatchRequest())  # type: ignore[arg-type]
    stub.Trak(ingest_service_pb2.TrackRequest())  # type: ignore[attr-defined]
    print(stub.Track(ingest_service_pb2.TrackRequest()).count)  # type: ignore[attr-defined]
    client.track(event_pb2.Event())  # type: ignore[arg-type]
    print(client.batch(make_messages()).event_id)  # type: ignore[attr-defined]


async def mistake_awaits(channel: grpc.Channel, answers: ingest_service_connect.IngestServiceClient) -> None:
    await ingest_service_pb2_grpc.IngestServiceStub(channel).Track(ingest_service_pb2.TrackRequest())  # type: ignore[misc]
    print(answers.batch(make_messages()).count)  # type: ignore[attr-defined]
