"""The protos build from a plain clone, in any language, and each of their methods is served."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

from millimetric.v1 import ingest_service_pb2, options_pb2, privacy_service_pb2, query_service_pb2
from repo.doc_files import ROOT
from support.rpcs import RPCS

_BIN = Path(sys.executable).parent
_SERVICES = [
    service
    for module in (ingest_service_pb2, privacy_service_pb2, query_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]
_METHODS = [method for service in _SERVICES for method in service.methods]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `git clone` gives of the last commit: no file that is made, ignored or not committed yet."""
    folder = tmp_path_factory.mktemp("clone") / "millimetric"
    _run("git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder), cwd=ROOT)
    return folder


def test_buf_builds_a_plain_clone_without_a_cache(clone: Path, tmp_path: Path) -> None:
    image = tmp_path / "image.binpb"
    _run("buf", "build", "--output", str(image), cwd=clone, BUF_CACHE_DIR=str(tmp_path / "cache"))
    built = {file.name for file in FileDescriptorSet.FromString(image.read_bytes()).file}
    ours = {str(path.relative_to(clone / "proto")) for path in (clone / "proto").rglob("*.proto")}
    assert ours <= built
    assert {"google/api/annotations.proto", "google/api/http.proto"} <= built


def test_a_plain_clone_generates_the_code_and_the_pages_that_it_holds(clone: Path, tmp_path: Path) -> None:
    described = str(tmp_path / "millimetric.binpb")
    _run("buf", "generate", cwd=clone, BUF_CACHE_DIR=str(tmp_path / "cache"))
    _run("buf", "build", "--path", "proto/millimetric/v1", "--as-file-descriptor-set", "--output", described, cwd=clone)
    _run("python", "-m", "docs.generator", described, cwd=clone)
    assert _run("git", "status", "--porcelain", cwd=clone) == ""


@pytest.mark.parametrize("published", [http_pb2.DESCRIPTOR, annotations_pb2.DESCRIPTOR], ids=lambda file: file.name)
def test_what_third_party_declares_is_what_google_published(published: object, tmp_path: Path) -> None:
    original = FileDescriptorProto()
    published.CopyToProto(original)  # type: ignore[attr-defined]
    image = tmp_path / "third_party.binpb"
    _run("buf", "build", "third_party", "--exclude-source-info", "--output", str(image), cwd=ROOT)
    [ours] = [file for file in FileDescriptorSet.FromString(image.read_bytes()).file if file.name == original.name]
    for option, value in ours.options.ListFields():
        assert getattr(original.options, option.name) == value
    assert (ours.package, ours.syntax) == (original.package, original.syntax)
    assert [_describe(one) for one in ours.extension] == [_describe(one) for one in original.extension]
    messages = {message.name: message for message in original.message_type}
    for message in ours.message_type:
        _compare(message, messages[message.name])


def test_every_file_says_its_package_in_go_and_java() -> None:
    for path in sorted((ROOT / "proto").rglob("*.proto")):
        lines = path.read_text("utf-8").splitlines()
        package = str(path.parent.relative_to(ROOT / "proto")).replace("/", ".")
        folder, alias = package.replace(".", "/"), package.replace(".", "")
        outer = "".join(word.capitalize() for word in path.stem.split("_"))
        assert [line for line in lines if line.startswith(("package ", "option "))] == [
            f"package {package};",
            f'option go_package = "{folder};{alias}";',
            "option java_multiple_files = true;",
            f'option java_outer_classname = "{outer}Proto";',
            f'option java_package = "com.{package}";',
        ]


def test_every_method_of_the_package_is_served() -> None:
    assert {f"/{method.containing_service.full_name}/{method.name}" for method in _METHODS} == {
        rpc.path for rpc in RPCS
    }


def test_a_query_string_that_google_api_http_describes_has_no_repeated_message() -> None:
    for method in _METHODS:
        rule = method.GetOptions().Extensions[annotations_pb2.http]
        if rule.WhichOneof("pattern") and not rule.body:
            assert [field.full_name for field in _list_repeated_messages(method.input_type)] == []


def test_a_route_is_described_once() -> None:
    for method in _METHODS:
        options = method.GetOptions()
        has_rule = options.Extensions[annotations_pb2.http].WhichOneof("pattern") is not None
        has_own = bool(options.Extensions[options_pb2.rpc].get)
        is_on_grpc_alone = method.client_streaming
        assert [has_rule, has_own, is_on_grpc_alone].count(True) == 1, method.full_name
        if has_own:
            assert list(_list_repeated_messages(method.input_type)), "google.api.http can describe it"


def _compare(ours: DescriptorProto, original: DescriptorProto) -> None:
    def describe(message: DescriptorProto) -> set[tuple[object, ...]]:
        oneofs = [oneof.name for oneof in message.oneof_decl]
        return {
            (*_describe(field), oneofs[field.oneof_index] if field.HasField("oneof_index") else "")
            for field in message.field
        }

    assert ours.field
    assert describe(ours) <= describe(original), ours.name


def _describe(field: FieldDescriptorProto) -> tuple[object, ...]:
    return field.name, field.number, field.type, field.label, field.type_name, field.extendee


def _list_repeated_messages(message: Descriptor) -> Iterator[FieldDescriptor]:
    for field in message.fields:
        if field.message_type is None or field.message_type.file.package == "google.protobuf":
            continue
        if field.is_repeated:
            yield field
        elif field.message_type is not message:  # a tree
            yield from _list_repeated_messages(field.message_type)


def _run(*command: str, cwd: Path, **environ: str) -> str:
    path = f"{_BIN}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, "PATH": path, **environ}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stderr}{done.stdout}"
    return done.stdout
