"""What the source of a stream has given, and what it is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from streamcell.digest import Digest
from streamcell.errors import CellError
from streamcell.limits import INITIAL_CREDIT_BYTES
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.events import SourceSeekWanted, SourceWanted
from streamcell.protocol.sending import errors as send_errors
from streamcell.protocol.sending.buffer import SendBuffer
from streamcell.protocol.sending.spec import SendSpec
from streamcell.protocol.wire.frames import Payload


class SourceSide:
    """The source of one stream. It gives until it ends or fails, and is asked anew when it has to go back.

    :ivar buffer: what it gave, as far as that may have to be sent, or sent again.
    :ivar total: how many bytes it had when it ended first, which it has to have again; None before.
    :ivar wanted: how many bytes it was asked for and has not given.
    :ivar moving: it was asked to go elsewhere, and has not said that it is there.
    """

    __slots__ = (
        "_chunk_bytes",
        "_context",
        "_read_ahead_bytes",
        "_spec",
        "_stream_id",
        "buffer",
        "digest",
        "ended",
        "error",
        "moving",
        "total",
        "wanted",
    )

    def __init__(self, context: Context, spec: SendSpec, stream_id: int) -> None:
        self._context = context
        self._spec = spec
        self._stream_id = stream_id
        self.buffer = SendBuffer()
        self.ended = False
        self.error: CellError | None = None
        self.total: int | None = None
        self.digest: Digest | None = None
        self.wanted = 0
        self.moving = False
        self._chunk_bytes = context.config.chunk_bytes
        self._read_ahead_bytes = context.config.read_ahead_bytes

    @property
    def counts(self) -> bool:
        """Whether what it gives now counts: not after its end, and not what it gave before it went elsewhere."""
        return not (self.ended or self.error is not None or (self.moving and not self._spec.keeps_all))

    def take_in(self, pieces: Sequence[Payload]) -> CellError | None:
        """Keep what it gives; return what is wrong with that: it is more than was declared."""
        for piece in pieces:
            self.buffer.append(piece)
            self.wanted = max(0, self.wanted - len(piece))
        declared = self._spec.description.size
        if declared is None or self.buffer.end <= declared:
            return None
        return send_errors.longer_than_declared(self._spec, self.buffer.end)

    def end(self, digest: Digest | None) -> CellError | None:
        """It has no more; return what is wrong with that: it was declared, or there before, that it has more."""
        expected = self._spec.description.size if self.total is None else self.total
        if expected is not None and self.buffer.end != expected:
            return send_errors.other_end(self._spec, self.buffer.end, expected, read_before=self.total is not None)
        self.ended = True
        self.total = self.buffer.end
        self.digest = digest
        self.wanted = 0
        return None

    def fail(self, error: CellError) -> None:
        """It gives no more, and what it gave is not all."""
        self.error = error
        self.wanted = 0

    def ask_to_move(self, offset: int, prefix_digest: Digest | None) -> None:
        """Ask it to give what begins at ``offset`` next, if what it has below is what the digest was made of."""
        self.moving = True
        self._context.events.append(SourceSeekWanted(self._stream_id, offset, prefix_digest))

    def go_to(self, offset: int) -> None:
        """It gives what begins at ``offset`` next. Nothing of what it gave is kept, unless all of it is."""
        self.moving = False
        if not self._spec.keeps_all:
            self.buffer.restart(offset)
            self.ended = False
            self.error = None
            self.wanted = 0

    def ask(self, next_offset: int, window: int) -> None:
        """Ask it for more, if there is room: whole chunks where there is room for one, and never for crumbs.

        :param next_offset: what was given below has been sent.
        :param window: how far ahead of its reader the target lets the stream go.
        """
        if self.wanted > 0 or self.ended or self.error is not None:
            return
        ahead = min(self._read_ahead_bytes, max(INITIAL_CREDIT_BYTES, window))
        room = ahead - (self.buffer.end - next_offset)
        if room < max(1, ahead // 2):
            return
        if room > self._chunk_bytes:
            room -= room % self._chunk_bytes
        self.wanted = room
        self._context.events.append(SourceWanted(self._stream_id, room))
