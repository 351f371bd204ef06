"""Fields that the caller's stubs know and ours do not: refused by name, never dropped in silence."""

from __future__ import annotations

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from claude_grpc.codec.violations import Path, Violations

__all__ = ["note_newer_fields", "refuse_newer_fields"]


def refuse_newer_fields(message: Message, path: Path, violations: Violations) -> None:
    """Note each unknown field anywhere in the message.

    Almost no message has one, so the whole is compared with a copy without them first, which is one pass in C.
    """
    known = type(message)()
    known.CopyFrom(message)
    known.DiscardUnknownFields()
    if known.ByteSize() != message.ByteSize():
        _note(message, path, violations)


def note_newer_fields(message: Message, path: Path, violations: Violations) -> None:
    """Note each unknown field of the message itself, not of those in it."""
    newer = UnknownFieldSet(message)
    if not len(newer):  # almost always
        return
    for unknown in newer:  # type: ignore[attr-defined] # its types do not say that it is iterable
        violations.add(
            (path, f"#{unknown.field_number}"),
            f"{type(message).DESCRIPTOR.name} has no field {unknown.field_number} in this gateway's version, which is "
            "older than the caller's; use extra_json or opaque_json, or update the gateway.",
        )


def _note(message: Message, path: Path, violations: Violations) -> None:
    note_newer_fields(message, path, violations)
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.is_repeated:
            for index, element in enumerate(value):
                _note(element, ((path, field.name), index), violations)
        else:
            _note(value, (path, field.name), violations)
