"""The conformance suite's messages, generated from the Go module's files: nothing of them is kept here."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import connectrpc

MODULE = "connectrpc.com/conformance@v1.0.7"
_PACKAGE = "connectrpc/conformance/v1"


class Protos(NamedTuple):
    """The generated modules that the service and its server need."""

    service: ModuleType
    server_compat: ModuleType


def generate(folder: Path, go: str) -> None:
    """Generate the modules into a folder; Go fetches the module that has the protos, unless it is there."""
    answer = subprocess.run([go, "mod", "download", "-json", MODULE], capture_output=True, text=True, check=True)
    protos = Path(json.loads(answer.stdout)["Dir"]) / "proto"
    names = sorted(str(path.relative_to(protos)) for path in (protos / _PACKAGE).glob("*.proto"))
    generator = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={protos}", f"--python_out={folder}"]
    subprocess.run([*generator, *names], check=True)


def load(folder: Path) -> Protos:
    """Import what was generated into the folder."""
    connectrpc.__path__.append(str(folder / "connectrpc"))  # the library of that name shares it with the suite
    package = _PACKAGE.replace("/", ".")
    return Protos(*(importlib.import_module(f"{package}.{name}_pb2") for name in ("service", "server_compat")))
