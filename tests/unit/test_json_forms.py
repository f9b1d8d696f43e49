"""One reader for both JSON doors: either spelling of names, all forms of proto3 JSON, absent values in every field.

What json_format of protobuf reads, ours reads to the same message; hypothesis looks for what it does not.
"""

import json
from typing import Any

import msgspec
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from millimetric.v1 import query_service_pb2
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.api.messages import (
    Ack,
    BatchRequest,
    FilterOp,
    FunnelRequest,
    Interval,
    Message,
    Metric,
    StatsRequest,
    TrackRequest,
)
from millimetric_server.api.undecodable import UndecodableEvent
from millimetric_server.doors.codecs.json import JsonDecoder
from millimetric_server.doors.codecs.proto import to_proto

_DECODERS = {kind: JsonDecoder(kind) for kind in (TrackRequest, BatchRequest, StatsRequest, FunnelRequest)}


def read(kind: type[Message], text: str | dict[str, Any]) -> Any:
    body = text if isinstance(text, str) else json.dumps(text)
    message = _DECODERS[kind].decode(body.encode())
    assert type(message) is kind
    return message


def test_either_spelling_is_one_field() -> None:
    for names in (("event_id", "user_id", "properties_json"), ("eventId", "userId", "propertiesJson")):
        values = dict(zip(names, ("e1", "u1", "{}"), strict=True))
        message = read(TrackRequest, {"event": "x", **values, "context": {"userAgent": "b", "user_agent": "a"}})
        assert (message.event_id, message.user_id, message.properties_json) == ("e1", "u1", "{}")
        assert message.context.user_agent == "b"
        assert JsonDecoder(TrackRequest).decode(json.dumps({"event": "x", **values}).encode()).user_id == "u1"  # type: ignore[attr-defined]


@pytest.mark.parametrize("absent", ["null", '""'])
@pytest.mark.parametrize("kind", list(_DECODERS))
def test_null_and_empty_text_are_absent_in_every_field(kind: type[Message], absent: str) -> None:
    plain = read(kind, "{}")
    for field in msgspec.structs.fields(kind):
        if field.name == "properties" and absent == '""':
            continue  # free form: its text is looked at where it is validated
        message = read(kind, f'{{"{field.encode_name}": {absent}}}')
        assert getattr(message, field.name) in (getattr(plain, field.name), "", msgspec.Raw(b"null")), field.name


@pytest.mark.parametrize("text", ["5", '"5"', "5.0", "5e0", '"5.0"', "50e-1", " 5 ", '"\\u0035"'])
def test_every_form_of_a_whole_number_is_one(text: str) -> None:
    assert read(StatsRequest, f'{{"limit":{text}}}').limit == 5


@pytest.mark.parametrize(
    "text", ["5.5", '"five"', '"5 "', '"0x5"', '"5_0"', "true", "[5]", '"\u0661"', "1e99", '"NaN"']
)
def test_what_is_no_whole_number_is_refused_by_name(text: str) -> None:
    with pytest.raises(AppError) as refused:
        read(StatsRequest, f'{{"limit":{text}}}')
    assert [one.field for one in refused.value.violations] == ["limit"]


def test_a_number_of_0_is_there_and_null_is_not() -> None:
    message = read(FunnelRequest, '{"limit":0,"window_seconds":"0"}')
    assert (message.limit, message.window_seconds) == (0, 0)
    assert read(FunnelRequest, '{"limit":null}').limit is None


@pytest.mark.parametrize("text", ["2", "2.0", '"METRIC_UNIQUES"', '"uniques"'])
def test_an_enum_is_a_name_or_a_number(text: str) -> None:
    assert read(StatsRequest, f'{{"metric":{text}}}').metric is Metric.UNIQUES
    assert read(StatsRequest, '{"metric":0,"interval":"INTERVAL_UNSPECIFIED"}').interval is Interval.UNSPECIFIED
    for unknown in ("99", "-1", '"METRIC_X"', "1.5", "[]"):
        with pytest.raises(AppError) as refused:
            read(StatsRequest, f'{{"metric":{unknown}}}')
        assert [one.field for one in refused.value.violations] == ["metric"], unknown


def test_unknown_fields_are_ignored_at_every_depth() -> None:
    text = '{"x":1,"events":[{"event":"a","source":"paid","eventId":"e1","context":{"ip":"1.2.3.4","y":[{}]}}]}'
    (event,) = read(BatchRequest, text).events
    assert (event.event, event.event_id, event.context.ip) == ("a", "e1", "1.2.3.4")


def test_properties_come_through_as_they_were_sent() -> None:
    text = '{"eventId":"e","userId":null,"big":9007199254740993,"one":1.0,"deep":{"groupBy":null}}'
    assert bytes(read(TrackRequest, f'{{"event":"x","userId":"u","properties":{text}}}').properties) == text.encode()


def test_a_batch_in_camel_case_tells_each_bad_event() -> None:
    text = '{"events":[{"event":"a","eventId":1},{"event":"b","userId":"u"},7,{"event":"c","timestamp":"soon"}]}'
    events = read(BatchRequest, text).events
    assert [isinstance(event, UndecodableEvent) for event in events] == [True, False, True, True]
    assert events[0].violations[0].field == "event_id"
    assert events[1].user_id == "u"


def test_nested_messages_have_the_same_forms() -> None:
    steps = [{"event": "a", "filter": [{"column": "source", "op": 6, "values": ["x"]}]}, {"event": "b", "filter": None}]
    message = read(FunnelRequest, {"steps": steps, "windowSeconds": "60", "groupBy": ""})
    assert message.steps[0].filter[0].op is FilterOp.LE
    assert (message.window_seconds, message.steps[1].filter) == (60, [])
    assert read(TrackRequest, '{"event":"x","ack":2}').ack is Ack.STORED


def test_a_tree_that_is_written_in_another_spelling_has_few_levels() -> None:
    """Each level is copied into the one around it, so a deep tree would cost its depth times its size."""
    deep = '{"not":' * 400 + "{}" + "}" * 400
    with pytest.raises(AppError, match="at most 16 levels"):
        read(StatsRequest, f'{{"groupBy":[],"where":{deep}}}')


@pytest.mark.parametrize("place", ["filter", "where"])
@pytest.mark.parametrize("op", ["==", "=~", "<>", "="])
def test_an_unknown_operator_in_a_body_is_told_with_those_there_are(op: str, place: str) -> None:
    one = {"column": "path", "op": op, "values": ["/"]}
    step = {"event": "a", "filter": [one]} if place == "filter" else {"event": "a", "where": {"not": {"filter": one}}}
    with pytest.raises(AppError) as caught:
        read(FunnelRequest, {"steps": [step]})
    (violation,) = caught.value.violations
    assert caught.value.reason is Reason.INVALID_PARAMS
    assert violation.field == f"steps[0].{'filter[0]' if place == 'filter' else 'where.not.filter'}.op"
    assert all(f"`{known}`" in violation.message for known in FilterOp if known)
    assert f"'{op}'" in violation.message


_NAMES = {
    "groupBy": st.lists(st.text(max_size=3), max_size=2),
    "limit": st.integers(0, 1000),
    "event": st.text(max_size=5),
}
_NAMES |= {"includeBots": st.booleans(), "metric": st.sampled_from(["METRIC_COUNT", "METRIC_UNIQUES", 0, 1, 2])}
_NAMES |= {"interval": st.sampled_from(["INTERVAL_DAY", 3]), "from": st.just("2026-01-02T03:04:05.5Z")}
_NAMES |= {
    "filter": st.lists(
        st.fixed_dictionaries({"column": st.text(max_size=3)}, optional={"op": st.integers(0, 9) | st.none()}),
        max_size=2,
    )
}


@given(st.fixed_dictionaries({}, optional={name: st.none() | value for name, value in _NAMES.items()}))
def test_what_protobuf_reads_is_read_to_the_same_message(content: dict[str, Any]) -> None:
    text = json.dumps(content)
    theirs = json_format.Parse(text, query_service_pb2.StatsRequest())
    ours = to_proto(read(StatsRequest, text))
    for optional in ("limit", "event"):
        if not getattr(theirs, optional):  # 0 and an empty text are absent
            theirs.ClearField(optional)
            ours.ClearField(optional)
    assert ours == theirs
