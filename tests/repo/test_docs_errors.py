"""The error reasons are the same in errors.py, in the protos and in the documents."""

import grpc

from millimetric.v1 import error_reason_pb2, options_pb2
from millimetric_server.api.errors import FAILURES, Reason
from repo.doc_files import read_table

_PREFIX = "ERROR_REASON_"
_VALUES = {
    value.name.removeprefix(_PREFIX).lower(): value.GetOptions().Extensions[options_pb2.reason]
    for value in error_reason_pb2.ErrorReason.DESCRIPTOR.values
}


def test_every_reason_has_its_row_in_the_table_of_failures() -> None:
    assert list(FAILURES) == list(Reason)


def test_the_proto_enum_names_the_same_reasons() -> None:
    assert list(_VALUES) == ["unspecified", *(reason.value for reason in Reason)]
    assert [reason.name.lower() for reason in Reason] == [reason.value for reason in Reason]


def test_every_reason_of_the_proto_says_how_it_is_told() -> None:
    codes = {code.name for code in grpc.StatusCode} - {"OK", "UNKNOWN", "UNIMPLEMENTED"}
    for word, told in _VALUES.items():
        assert (told.code in codes) == (word != "unspecified"), word
        assert (400 <= told.http_status < 600) == (word != "unspecified"), word


def test_the_documented_table_is_that_of_the_code() -> None:
    rows = read_table("docs/api/errors.md", "Reason")
    assert [(row["Reason"], row["HTTP"], row["gRPC"], row["Retry"]) for row in rows] == [
        (
            reason.value,
            str(failure.http_status),
            failure.code.name,
            "yes" if failure.is_retryable else "no",
        )
        for reason, failure in FAILURES.items()
    ]
