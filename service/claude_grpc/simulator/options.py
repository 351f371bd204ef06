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
        kept_body_bytes: The largest body of an upload or a batch that is kept there.
        batch_polls: The retrieve of a batch at which it ends, each before that being a step on the way. 0 leaves it to
            ``Simulator.advance_batches``. One that is being canceled ends at the next retrieve.
        batch_seconds: If not 0, a batch ends so long after its creation, whatever is retrieved.
        batch_retry_after: What the header ``retry-after`` says on a batch that has not ended; 0 leaves it out.
        max_batch_bytes: The largest body of a batch; the API's own limit by default.
        max_batch_requests: The most requests in a batch; the API's own limit by default.
        results_host: What a ``results_url`` begins with, such as ``http://elsewhere:80``; by default the host that the
            request was sent to.
        seed: What the order of a batch's results is shuffled with.
        uploads_downloadable: Whether uploaded files are; the API's are not.
        any_file_id: Whether a message may name files that are not there.
        max_file_bytes: The largest file; the API's own limit by default.
        max_kept_file_bytes: The largest file whose content is kept; of a larger one its size and digest stay, and a
            download is ``generated_content`` of that size.
        max_stored_bytes: The most bytes that all files, skills and batches may hold in memory.
        max_objects: The most batches, files, and skills, of each kind.
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
    kept_body_bytes: int = 1024 * 1024
    batch_polls: int = 2
    batch_seconds: float = 0.0
    batch_retry_after: int = 10
    max_batch_bytes: int = 256 * 1024 * 1024
    max_batch_requests: int = 100_000
    results_host: str | None = None
    seed: int = 0
    uploads_downloadable: bool = False
    any_file_id: bool = False
    max_file_bytes: int = 500 * 1024 * 1024
    max_kept_file_bytes: int = 500 * 1024 * 1024
    max_stored_bytes: int = 2 * 1024 * 1024 * 1024
    max_objects: int = 10_000
