"""Where REST has a method: its google.api.http rule, or the GET route that such a rule can't describe."""

from dataclasses import dataclass

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import MethodOptions

from millimetric_server.api.options import read_rpc


@dataclass(frozen=True, slots=True)
class HttpRule:
    """A verb, the path with its variables in braces, and whether the request is in the body."""

    verb: str
    path: str
    has_body: bool


def read_http_rule(options: MethodOptions) -> HttpRule | None:
    """Read the route of a method from its options; None where REST has none."""
    if path := read_rpc(options).get:
        return HttpRule("GET", path, has_body=False)
    rule = options.Extensions[annotations_pb2.http]
    if (verb := rule.WhichOneof("pattern")) is None:
        return None
    return HttpRule(verb.upper(), getattr(rule, verb), bool(rule.body))
