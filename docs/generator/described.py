"""The API as a descriptor set describes it: its services, messages and enums, each with its comment and options."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    EnumValueDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_Member = FieldDescriptorProto | EnumValueDescriptorProto | MethodDescriptorProto
PACKAGE = "millimetric.v1"
_OPTIONS_FILE = "millimetric/v1/options.proto"  # how the protos say what they say, not what callers send


@dataclass(frozen=True, slots=True)
class Route:
    """Where REST has a method, and what of the HTTP request its message is."""

    verb: str
    path: str
    place: str


@dataclass(frozen=True, slots=True)
class Description:
    """The files of the package in the order of their imports, and the comments by full name."""

    pool: DescriptorPool
    files: tuple[FileDescriptor, ...]
    comments: Mapping[str, str]

    def list_services(self) -> list[ServiceDescriptor]:
        """List the services."""
        return [service for file in self.files for service in file.services_by_name.values()]

    def list_messages(self) -> list[Descriptor]:
        """List the messages that callers see; entries of maps are none."""
        return [message for file in self.files for message in file.message_types_by_name.values()]

    def list_enums(self) -> list[EnumDescriptor]:
        """List the enums."""
        return [enum for file in self.files for enum in file.enum_types_by_name.values()]

    def list_methods(self) -> list[MethodDescriptor]:
        """List the methods of all services."""
        return [method for service in self.list_services() for method in service.methods]

    def find_route(self, method: MethodDescriptor) -> Route | None:
        """Find the route of a method; None where REST has none."""
        if path := self.read_rpc(method).get:
            return Route("GET", path, "query string")
        rule = self.read_option(method.GetOptions(), "google.api.http")
        if (verb := rule.WhichOneof("pattern")) is None:
            return None
        path = getattr(rule, verb)
        return Route(verb.upper(), path, "body" if rule.body else "part of the path" if "{" in path else "query string")

    def read_rpc(self, method: MethodDescriptor) -> Any:
        """Read what a method is beyond its messages: an RpcOptions."""
        return self.read_option(method.GetOptions(), f"{PACKAGE}.rpc")

    def find_message(self, name: str) -> Descriptor:
        """Find a message of the package."""
        return self.pool.FindMessageTypeByName(f"{PACKAGE}.{name}")

    def find_enum(self, name: str) -> EnumDescriptor:
        """Find an enum of the package."""
        return self.pool.FindEnumTypeByName(f"{PACKAGE}.{name}")

    def read_option(self, options: Message, name: str) -> Any:
        """Read one of a descriptor's options by its full name, such as `google.api.http`; an absent one is empty.

        Its class is made from the descriptor set, so that a new option is there before any code of it is generated.
        """
        kind: Any = GetMessageClass(self.pool.FindMessageTypeByName(options.DESCRIPTOR.full_name))
        return kind.FromString(options.SerializeToString()).Extensions[self.pool.FindExtensionByName(name)]


def read_description(descriptor_set: bytes) -> Description:
    """Read a FileDescriptorSet that has every import and the comments."""
    pool, comments, names = DescriptorPool(), dict[str, str](), []
    for file in FileDescriptorSet.FromString(descriptor_set).file:
        pool.Add(file)
        if file.package == PACKAGE and file.name != _OPTIONS_FILE:
            names.append(file.name)
            comments.update(_read_comments(file))
    return Description(pool, tuple(pool.FindFileByName(name) for name in names), comments)


def _read_comments(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    # A comment belongs to a path: numbers of fields of FileDescriptorProto and places in their lists.
    texts = {tuple(location.path): location.leading_comments for location in file.source_code_info.location}
    for path, name in _list_paths(file):
        yield f"{file.package}.{name}", " ".join(texts[path].split())


def _list_paths(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    for index, message in enumerate(file.message_type):
        path = (FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER, index)
        yield from _list_members(path, message.name, DescriptorProto.FIELD_FIELD_NUMBER, message.field)
    for index, enum in enumerate(file.enum_type):
        path = (FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER, index)
        yield from _list_members(path, enum.name, EnumDescriptorProto.VALUE_FIELD_NUMBER, enum.value)
    for index, service in enumerate(file.service):
        path = (FileDescriptorProto.SERVICE_FIELD_NUMBER, index)
        yield from _list_members(path, service.name, ServiceDescriptorProto.METHOD_FIELD_NUMBER, service.method)


def _list_members(
    path: tuple[int, ...], name: str, number: int, members: Iterable[_Member]
) -> Iterator[tuple[tuple[int, ...], str]]:
    yield path, name
    for index, member in enumerate(members):
        yield (*path, number, index), f"{name}.{member.name}"
