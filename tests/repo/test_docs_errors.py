"""The error reasons are the same in the table of errors.py, in the protos and in the documents."""

import re

from millimetric.v1 import error_reason_pb2
from millimetric_server.api.errors import FAILURES, Reason
from repo.doc_files import read_doc, read_table

_PAGE = "docs/api/errors.md"
_PROTO = "proto/millimetric/v1/error_reason.proto"
_PREFIX = "ERROR_REASON_"
_COMMENTED = re.compile(r"\(HTTP (\d+), (\w+)\).*?\n  ERROR_REASON_(\w+) = \d+;")


def test_every_reason_has_its_row_in_the_table_of_failures() -> None:
    assert list(FAILURES) == list(Reason)


def test_the_proto_enum_names_the_same_reasons() -> None:
    words = [name.removeprefix(_PREFIX).lower() for name in error_reason_pb2.ErrorReason.keys()]  # noqa: SIM118 - an enum wrapper, no dict
    assert words == ["unspecified", *(reason.value for reason in Reason)]
    assert [reason.name.lower() for reason in Reason] == [reason.value for reason in Reason]


def test_the_comments_of_the_proto_tell_status_and_code() -> None:
    told = {word.lower(): (int(status), code) for status, code, word in _COMMENTED.findall(read_doc(_PROTO))}
    assert told == {reason.value: (failure.http_status, failure.code.name) for reason, failure in FAILURES.items()}


def test_the_documented_table_is_that_of_the_code() -> None:
    rows = read_table(_PAGE, "Reason")
    assert [(row["Reason"], row["HTTP"], row["gRPC"], row["Retry"]) for row in rows] == [
        (
            reason.value,
            str(failure.http_status),
            failure.code.name,
            "yes" if failure.is_retryable else "no",
        )
        for reason, failure in FAILURES.items()
    ]
