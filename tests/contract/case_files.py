"""Reads the case files: YAML, held against proto/millimetric/testing/v1/contract_case.proto field by field."""

import tempfile
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import grpc
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import Message
from grpc_tools import protoc

from millimetric_server.api.errors import Reason

CASES = Path(__file__).parent / "cases"
WRITES = ("Track", "Batch", "Identify")
DOORS = ("grpc", "connect_proto", "connect_json", "rest")
_INTEGER_MAX = 2**63
_PROTOS = Path(__file__).parents[2] / "proto"
_SCHEMA = "millimetric/testing/v1/contract_case.proto"


class _PlainLoader(yaml.SafeLoader):
    """YAML in which a time is a text, as in JSON."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class CaseCall:
    """A call as the file has it, its fillers not yet filled in."""

    rpc: str
    key: str
    origin: str
    headers: dict[str, str]
    request: dict[str, Any] | None
    request_json: str
    raw_body: str | None
    is_gzipped: bool
    http_method: str
    times: int
    reason: str


@dataclass(frozen=True)
class Wanted:
    """The answer as the file has it."""

    code: str
    http_status: int
    reason: str
    fields: list[str]
    details: dict[str, str]
    has_retry_after: bool
    response: dict[str, Any]
    stored: int | None
    rows: list[dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """A contract case."""

    name: str
    doors: tuple[str, ...]
    situation: str
    rate_limits: dict[str, str]
    before: tuple[CaseCall, ...]
    call: CaseCall
    want: Wanted
    is_eventual: bool


def load_cases() -> list[Case]:
    """Load all files. Raises AssertionError that names the file and what is wrong."""
    cases = [case for path in sorted(CASES.rglob("*.yaml")) for case in _load_file(path)]
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), sorted({name for name in names if names.count(name) > 1})
    return cases


def _load_file(path: Path) -> list[Case]:
    file = _case_file_class()()
    try:
        json_format.ParseDict(yaml.load(path.read_text("utf-8"), _PlainLoader), file)
    except (json_format.ParseError, yaml.YAMLError) as error:
        raise AssertionError(f"{path.relative_to(CASES)}: {error}") from None
    assert file.theme, path
    return [_read_case(case, path) for case in file.cases]


def _read_case(proto: Any, path: Path) -> Case:
    where = f"{path.relative_to(CASES)}: {proto.name}"
    want = proto.want
    assert proto.name, f"{path}: a case without a name"
    assert want.code in grpc.StatusCode.__members__, f"{where}: code"
    assert want.http_status, f"{where}: http_status"
    assert (want.code == "OK") == (not want.reason), f"{where}: reason"
    assert not want.reason or want.reason in set(Reason), f"{where}: reason"
    return Case(
        name=proto.name,
        doors=tuple(_short_name(proto, "doors", number) for number in proto.doors) or DOORS,
        situation=_short_name(proto, "situation", proto.situation),
        rate_limits=dict(proto.rate_limits),
        before=tuple(_read_call(call) for call in proto.before),
        call=_read_call(proto.call),
        want=_read_wanted(want),
        is_eventual=proto.eventually,
    )


def _read_call(proto: Any) -> CaseCall:
    return CaseCall(
        rpc=proto.rpc,
        key=proto.key or "sk",
        origin=proto.origin,
        headers=dict(proto.headers),
        request=read_struct(proto.request) if proto.HasField("request") else None,
        request_json=proto.request_json,
        raw_body=proto.raw_body if proto.HasField("raw_body") else None,
        is_gzipped=proto.is_gzipped,
        http_method=proto.http_method,
        times=proto.times or 1,
        reason=proto.reason,
    )


def _read_wanted(proto: Any) -> Wanted:
    return Wanted(
        code=proto.code,
        http_status=proto.http_status,
        reason=proto.reason,
        fields=list(proto.fields),
        details=dict(proto.details),
        has_retry_after=proto.has_retry_after,
        response=read_struct(proto.response),
        stored=proto.stored if proto.HasField("stored") else None,
        rows=[read_struct(row) for row in proto.rows],
    )


def read_struct(struct: Message) -> dict[str, Any]:
    """A Struct as the YAML had it: it knows only doubles, and what can be an integer was one."""
    content: dict[str, Any] = _restore_integers(json_format.MessageToDict(struct))
    return content


def _restore_integers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _restore_integers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_restore_integers(item) for item in value]
    is_integer = isinstance(value, float) and value.is_integer() and abs(value) < _INTEGER_MAX
    return int(value) if is_integer else value


def _short_name(proto: Any, field: str, number: int) -> str:
    """DOOR_REST is `rest`, SITUATION_UNSPECIFIED is empty."""
    enum = proto.DESCRIPTOR.fields_by_name[field].enum_type
    name = enum.values_by_number[number].name.partition("_")[2].lower()
    return "" if name == "unspecified" else name


@cache
def _case_file_class() -> type[Message]:
    """Compile the schema; it is not among the generated classes, because no client needs it."""
    well_known = resources.files("grpc_tools") / "_proto"
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "image.binpb")
        arguments = [f"-I{_PROTOS}", f"-I{well_known}", "--include_imports", f"--descriptor_set_out={image}"]
        assert protoc.main(["protoc", *arguments, _SCHEMA]) == 0
        files = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    found: type[Message] = message_factory.GetMessageClass(
        pool.FindMessageTypeByName("millimetric.testing.v1.CaseFile")
    )
    return found
