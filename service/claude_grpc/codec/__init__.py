"""Between messages and the JSON of the Claude API, by the options in the protos alone.

``schema`` reads a descriptor once; ``encode`` and ``decode`` compile what it found into plans; ``accumulate`` puts the
events of a stream together. Knows no socket, no clock and no log.
"""

from claude_grpc.codec.accumulate import MessageAccumulator
from claude_grpc.codec.decode import Decoder
from claude_grpc.codec.encode import Encoder
from claude_grpc.codec.violations import Violations

__all__ = ["Decoder", "Encoder", "MessageAccumulator", "Violations"]
