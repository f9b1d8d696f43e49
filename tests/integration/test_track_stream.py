"""TrackStream over gRPC: each event is answered in order once it is durable, and the sender is held up, not refused."""

import itertools
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import grpc
import pytest

from integration.reads import count_everywhere, read_reason, wait_for_key, wait_until_everywhere
from millimetric.v1 import event_pb2, ingest_service_pb2, ingest_service_pb2_grpc
from millimetric_server.control.store import open_control_store
from support.server_process import ORIGIN, ProjectKeys, ServerProcess

_METHOD = "/millimetric.v1.IngestService/TrackStream"
_numbers = itertools.count()


@pytest.fixture
def keys(server: ServerProcess) -> ProjectKeys:
    keys = server.create_project(f"stream-{next(_numbers)}")
    wait_for_key(server, keys)
    return keys


def request(number: int, **event: Any) -> ingest_service_pb2.TrackStreamRequest:
    content = {"event": "tick", "event_id": f"e{number}"} | event
    return ingest_service_pb2.TrackStreamRequest(sequence=number, event=event_pb2.Event(**content))


def open_stream(channel: grpc.Channel, key: str, requests: Iterable[Any], **metadata: str) -> Any:
    stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
    pairs = (("authorization", f"Bearer {key}"), *((name.replace("_", "-"), text) for name, text in metadata.items()))
    return stub.TrackStream(iter(requests), metadata=pairs, timeout=60)


def expect_end(stream: Any) -> tuple[list[int], grpc.StatusCode, str]:
    """Read a stream to its failure; returns the answered numbers, the code and the reason."""
    answered: list[int] = []
    with pytest.raises(grpc.RpcError) as caught:
        answered.extend(answer.sequence for answer in stream)
    return answered, caught.value.code(), read_reason(caught.value)


class Sender:
    """Requests that are sent when the test says so; `end` half-closes the stream."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._waiting.get, None)

    def send(self, message: Any) -> None:
        self._waiting.put(message)

    def end(self) -> None:
        self._waiting.put(None)


def test_every_event_is_answered_in_order_and_counted_once(server: ServerProcess, keys: ProjectKeys) -> None:
    requests = [request(number, event_id=f"e{number % 900}") for number in range(1000)]
    requests[500] = request(500, event="", event_id="bad", url="no url")
    with grpc.insecure_channel(server.grpc_address) as channel:
        answers = list(open_stream(channel, keys.secret, requests))
    assert [answer.sequence for answer in answers] == list(range(1000))
    outcomes = [answer.outcome.outcome for answer in answers]
    assert outcomes.count(ingest_service_pb2.OUTCOME_STORED) == 899
    assert outcomes.count(ingest_service_pb2.OUTCOME_DUPLICATE) == 100
    bad = answers[500].outcome
    assert bad.outcome == ingest_service_pb2.OUTCOME_REJECTED
    assert (bad.reason, bad.event_id) == ("invalid_payload", "bad")
    assert [error.field for error in bad.field_errors] == ["event", "url"]
    wait_until_everywhere(server, keys, 899)


def test_ids_of_a_public_key_are_free_for_a_secret_key(server: ServerProcess, keys: ProjectKeys) -> None:
    requests = [request(number) for number in range(10)]
    with grpc.insecure_channel(server.grpc_address) as channel:
        claimed = list(open_stream(channel, keys.public, requests, origin=ORIGIN))
        answers = list(open_stream(channel, keys.secret, requests))
    outcomes = [answer.outcome.outcome for answer in (*claimed, *answers)]
    assert outcomes == [ingest_service_pb2.OUTCOME_STORED] * 20


def test_an_answer_comes_while_the_stream_is_open(server: ServerProcess, keys: ProjectKeys) -> None:
    sender = Sender()
    with grpc.insecure_channel(server.grpc_address) as channel:
        stream = open_stream(channel, keys.secret, sender)
        for number in range(5):
            sender.send(request(number))
            assert next(stream).sequence == number
        sender.end()
        assert list(stream) == []


def test_with_ack_stored_the_next_read_sees_the_event(server: ServerProcess, keys: ProjectKeys) -> None:
    sender = Sender()
    with grpc.insecure_channel(server.grpc_address) as channel:
        stream = open_stream(channel, keys.secret, sender, millimetric_ack="stored")
        sender.send(request(1))
        next(stream)
        assert count_everywhere(server, keys)["events"] == 1
        sender.end()


def test_half_close_drains_what_was_sent(server: ServerProcess, keys: ProjectKeys) -> None:
    with grpc.insecure_channel(server.grpc_address) as channel:
        stream = open_stream(channel, keys.secret, [request(number) for number in range(3000)])
        time.sleep(0.2)  # everything is sent and the stream half-closed before the first answer is read
        assert sum(1 for _ in stream) == 3000


def test_a_cancelled_stream_loses_nothing_that_was_answered(server: ServerProcess, keys: ProjectKeys) -> None:
    with grpc.insecure_channel(server.grpc_address) as channel:
        stream = open_stream(channel, keys.secret, (request(number) for number in range(100_000)))
        answered = [next(stream).sequence for _ in range(500)]
        stream.cancel()
    assert answered == list(range(500))
    requests = [request(number) for number in answered]
    with grpc.insecure_channel(server.grpc_address) as channel:
        again = list(open_stream(channel, keys.secret, requests))
    assert {answer.outcome.outcome for answer in again} == {ingest_service_pb2.OUTCOME_DUPLICATE}


def test_a_deadline_loses_nothing_that_was_answered(server: ServerProcess, keys: ProjectKeys) -> None:
    stub_metadata = (("authorization", f"Bearer {keys.secret}"),)
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = ingest_service_pb2_grpc.IngestServiceStub(channel)
        answered = list[int]()
        for deadline_s in (1, 4, 16, 64):  # until it leaves a busy machine the time for an answer
            sender = Sender()
            stream = stub.TrackStream(iter(sender), metadata=stub_metadata, timeout=deadline_s)
            sender.send(request(1))
            answered, code, _ = expect_end(stream)
            sender.end()
            assert code is grpc.StatusCode.DEADLINE_EXCEEDED
            if answered:
                break
        assert answered == [1]
        (again,) = open_stream(channel, keys.secret, [request(1)])
    assert again.outcome.outcome == ingest_service_pb2.OUTCOME_DUPLICATE


def test_a_stranger_is_refused_before_a_message_is_sent(server: ServerProcess, keys: ProjectKeys) -> None:
    sender = Sender()
    with grpc.insecure_channel(server.grpc_address) as channel:
        unknown = "sk_live_00000000_" + "x" * 32
        assert expect_end(open_stream(channel, unknown, sender))[1:] == (
            grpc.StatusCode.UNAUTHENTICATED,
            "INVALID_API_KEY",
        )
        assert expect_end(open_stream(channel, keys.read, sender))[2] == "INSUFFICIENT_SCOPE"
        assert expect_end(open_stream(channel, keys.public, sender))[2] == "ORIGIN_NOT_ALLOWED"
        sender.end()


def test_an_opted_out_visitor_is_dropped_and_told(server: ServerProcess, keys: ProjectKeys) -> None:
    with grpc.insecure_channel(server.grpc_address) as channel:
        answers = list(open_stream(channel, keys.public, [request(1), request(2)], origin=ORIGIN, sec_gpc="1"))
    assert [answer.outcome.outcome for answer in answers] == [ingest_service_pb2.OUTCOME_DROPPED] * 2
    assert {answer.outcome.reason for answer in answers} == {"opt_out"}


def test_a_message_that_is_none_ends_the_stream_behind_the_others(server: ServerProcess, keys: ProjectKeys) -> None:
    bodies = [request(1).SerializeToString(), b"\xff\xff", request(2).SerializeToString()]
    with grpc.insecure_channel(server.grpc_address) as channel:
        method = channel.stream_stream(_METHOD, None, ingest_service_pb2.TrackStreamResponse.FromString)
        stream = method(iter(bodies), metadata=(("authorization", f"Bearer {keys.secret}"),), timeout=30)
        assert expect_end(stream) == ([1], grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PAYLOAD")


def test_a_revoked_key_ends_the_stream(server: ServerProcess, keys: ProjectKeys) -> None:
    sender, stop = Sender(), threading.Event()

    def send() -> None:
        for number in range(3000):
            if stop.wait(0.02):
                break
            sender.send(request(number))
        sender.end()

    with grpc.insecure_channel(server.grpc_address) as channel:
        stream = open_stream(channel, keys.secret, sender)
        sending = threading.Thread(target=send)
        sending.start()
        next(stream)
        control = open_control_store(f"sqlite:///{server.data_dir / 'control.db'}")
        control.revoke_key(keys.secret.split("_")[2])
        control.close()
        _, code, reason = expect_end(stream)
        stop.set()
        sending.join()
    assert (code, reason) == (grpc.StatusCode.UNAUTHENTICATED, "INVALID_API_KEY")


def test_a_fast_sender_is_slowed_down_and_a_slow_reader_holds_the_server_up() -> None:
    environ = {"MILLIMETRIC_RATE_LIMITS": "track_stream=400/100", "MILLIMETRIC_GRPC_STREAMS_MAX": "1"}
    with ServerProcess(environ=environ) as server:
        keys = server.create_project("slow")
        wait_for_key(server, keys)
        with grpc.insecure_channel(server.grpc_address) as channel:
            began = time.monotonic()
            answers = list(open_stream(channel, keys.secret, [request(number) for number in range(900)]))
            assert len(answers) == 900
            assert time.monotonic() - began > 1.5  # 800 of them wait for tokens, at 400 a second
            sender, sent = Sender(), itertools.count()

            def send() -> Iterator[Any]:
                while next(sent) < 20_000:
                    yield request(0, event_id="", properties_json='{"text":"' + "x" * 4000 + '"}')

            stream = open_stream(channel, keys.secret, send())
            time.sleep(2)
            assert next(sent) < 15_000, "flow control lets not everything out"
            assert expect_end(open_stream(channel, keys.secret, sender))[1:] == (
                grpc.StatusCode.UNAVAILABLE,
                "OVERLOADED",
            )
            stream.cancel()
            sender.end()


def test_sigterm_ends_a_stream_behind_what_it_answered() -> None:
    with ServerProcess({"MILLIMETRIC_SHUTDOWN_TIMEOUT_S": "600"}) as server:
        keys = server.create_project("end")
        wait_for_key(server, keys)
        sender = Sender()
        with grpc.insecure_channel(server.grpc_address) as channel:
            stream = open_stream(channel, keys.secret, sender)
            sender.send(request(1))
            assert next(stream).sequence == 1
            ended: list[Any] = []
            reading = threading.Thread(target=lambda: ended.append(expect_end(stream)))
            reading.start()
            assert server.stop() == 0  # which does not wait until all of its time to end has passed
            reading.join(60)
            sender.end()
        assert ended == [([], grpc.StatusCode.UNAVAILABLE, "OVERLOADED")]
        server.start()
        assert count_everywhere(server, keys) == dict.fromkeys(("events", "rollup", "sessions"), 1)
