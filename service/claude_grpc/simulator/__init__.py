"""A Claude API over HTTP on loopback: for work without a key, and for tests of an upstream that fails on demand.

It behaves like the real API as far as a client can tell, and is stricter where that finds bugs: it signs thinking and
refuses it changed, wants every tool call answered, knows the parameters, fields and betas there are. It shares no code
with the gateway, so that no bug cancels itself out. The same request gets the same answer, to the byte.

The life of a request: ``server`` listens → ``app`` reads and routes → ``headers``, ``prompt``, ``checks`` and ``turns``
look at it → ``messages`` builds the answer → ``stream`` takes it apart → ``delivery`` writes it. What keeps something
between requests is a resource: ``batches``, ``files``, ``models`` and ``skills``, each with its helpers beside it, on
``calls``, ``paging`` and ``store``. How to make it fail, and how to get what nobody has heard of yet, stands in the
docstrings of ``faults`` and ``resource_faults``.
"""

from __future__ import annotations

from .exchanges import Exchange
from .faults import RawAnswer
from .file_contents import StoredFile, generated_content
from .options import SimulatorOptions
from .server import Simulator, run

__all__ = [
    "Exchange",
    "RawAnswer",
    "Simulator",
    "SimulatorOptions",
    "StoredFile",
    "generated_content",
    "run",
]
