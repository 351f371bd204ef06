"""Failures and oddities of the resources, asked for in the language of ``faults``.

In the prompt of a request in a batch (what ends or delays a connection does nothing there):

- ``error STATUS``, ``error-event [TYPE]``: the request is errored, with this error.
- ``cancel``, ``expire``: the request is canceled, or expired, though the batch was not.
- ``unknown-result``: its result is of a type that nobody has heard of yet.
- ``extra-field``: ``future_field`` in the result and around it, too. ``bad-json``: the line is cut in half.

In ``Simulator.script``, for a request to a resource (batches, files, models, skills):

- ``error``, ``slow-headers``: as for messages; the request's body is read before.
- ``cut``, ``truncate``, ``reset``, ``stall`` with ``at=K``: K counts the lines of a batch's results, and the bytes of
  a download; the default is 3. Any other answer ends in its middle, with ``at=0`` before its body.
- ``bad-json``: half of the JSON. ``extra-field``: ``future_field`` in the object, and in each that a list holds.
- ``slow-body [SECONDS] [at=K]``: the request's body is not read beyond K bytes or a little more, for so long; without
  a number, until the connection is reset. A close does not get through to one who does not read.

In the name of an uploaded file: ``[[downloadable]]`` makes it so.
"""

from __future__ import annotations

__all__ = ["DOWNLOADABLE", "RESOURCE_NAMES"]

# Directives that ``faults`` does not have, as a part of its pattern.
RESOURCE_NAMES = "cancel|expire|slow-body|unknown-result"
DOWNLOADABLE = "[[downloadable]]"
