"""What a simulator can be told when it is started; it does not change afterwards."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SimulatorOptions"]


@dataclass(frozen=True, kw_only=True)
class SimulatorOptions:
    """Settings of a simulator; the defaults suit a test.

    Attributes:
        host: The address to listen on.
        port: The port to listen on; 0 takes a free one.
        delta_interval: Seconds between two deltas of a stream. 0 sends them as fast as they are read.
        extra_parameters: Top-level request parameters to accept beside the known ones, unlooked at.
        extra_fields: Fields to accept in any content block or tool beside the known ones, unlooked at.
        extra_block_types: Types of content blocks and of tools to accept beside the known ones, unlooked at.
        extra_betas: Values of ``anthropic-beta`` to accept beside the known ones.
        signing_key: What thinking is signed with. The fixed default lets a conversation outlive its simulator.
        max_body_bytes: The largest request body; the API's own limit by default.
        history: How many exchanges are kept, with their bodies, in ``Simulator.requests``.
    """

    host: str = "127.0.0.1"
    port: int = 0
    delta_interval: float = 0.0
    extra_parameters: frozenset[str] = frozenset()
    extra_fields: frozenset[str] = frozenset()
    extra_block_types: frozenset[str] = frozenset()
    extra_betas: frozenset[str] = frozenset()
    signing_key: bytes = b"the simulator signs with this"
    max_body_bytes: int = 32 * 1024 * 1024
    history: int = 64
