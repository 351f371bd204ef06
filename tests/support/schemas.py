"""All messages of the contract that are JSON, from whatever file they stand in."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import claude_grpc.v1
from claude_grpc.v1 import wire_pb2
from google.protobuf.descriptor import Descriptor, FileDescriptor

__all__ = ["json_messages", "proto_files"]


def proto_files() -> list[FileDescriptor]:
    """The contract's files, sorted by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(claude_grpc.v1.__path__))
    return [import_module(f"claude_grpc.v1.{name}").DESCRIPTOR for name in names if name.endswith("_pb2")]


def json_messages() -> list[Descriptor]:
    """Messages with a place for what is unknown, which is what makes them JSON."""
    return [
        descriptor
        for file in proto_files()
        for descriptor in file.message_types_by_name.values()
        if any(_keeps_unknown(field.GetOptions().Extensions[wire_pb2.wire]) for field in descriptor.fields)
    ]


def _keeps_unknown(wire: wire_pb2.FieldWire) -> bool:
    return wire.extra or wire.opaque
