"""Where a received stream goes on, as its application chooses it."""

from __future__ import annotations

import io
import threading
from typing import BinaryIO, Protocol

from streamcell.digest import Digest, Hasher
from streamcell.errors import CellError, StreamResumeError, UsageError
from streamcell.limits import MIB
from streamcell.runtime.sending.specs import check_whole
from streamcell.runtime.transfers import AnyFuture, fail, succeed

# How much of what the application has is read at a time.
_PIECE_BYTES = 1 * MIB


class ChoiceOwner(Protocol):
    """What is told. Called in the application's threads; none of it blocks."""

    def on_weighing(self) -> None:
        """The application is at it, however long that takes."""

    def on_chosen(self, offset: int, prefix_digest: Digest | None) -> None:
        """The stream is to go on at ``offset``."""


class Resumption:
    """The one choice of an offset for a stream whose origin waits for it.

    The application chooses with :meth:`begin`, or with what its callback returns, or by reading in its callback: that
    means 0. Reading elsewhere (in a thread that the callback has handed the stream to) waits. ``reader`` below is
    whatever tells one of these from the other: the thread, or the task.

    :ivar placed: gets the offset at which the origin goes on, or the stream's failure.
    """

    def __init__(self, owner: ChoiceOwner) -> None:
        self._owner = owner
        self._lock = threading.Lock()
        self._callback: object = None
        self._chosen: int | None = None
        self._prefix: Hasher | None = None
        self.placed: AnyFuture = AnyFuture()

    def enter(self, reader: object) -> None:
        """Take note of who runs the callback."""
        self._callback = reader

    def before_read(self, reader: object) -> None:
        """Take the callback's own reading as its choice."""
        if self._chosen is None and reader == self._callback:
            self._choose(0)

    def leave(self, returned: object) -> None:
        """Take what the callback has returned as its choice, if it has made none; None means 0.

        Raises:
            UsageError: it has made none, and has returned what is no offset.
        """
        self._callback = None
        if self._chosen is None:
            self._choose(0 if returned is None else check_whole(returned, "the offset that it returns"))

    def begin(self, offset: int, have: BinaryIO | None) -> AnyFuture:
        """Choose ``offset``, and have what ``have`` has below compared; return ``placed``. Reads ``have`` here.

        Raises:
            UsageError: ``offset`` is not an offset, or ``have`` cannot be read.
            StreamResumeError: another choice was made before, or ``have`` is shorter.
        """
        offset = check_offset(offset)
        prefix = None
        if have is not None:
            _check_file(have)
        if have is not None and offset > 0:
            self._owner.on_weighing()
            prefix = hash_prefix(have, offset)
        if not self._choose(offset, prefix):
            raise StreamResumeError(f"the stream was told before to go on at {self._chosen}")
        return self.placed

    def prefix_below(self, offset: int) -> Hasher | None:
        """Return the hash of what lies below ``offset``, where the origin goes on, if it is known. On the engine."""
        return self._prefix if offset == self._chosen else None

    def settle(self, offset: int) -> None:
        """Take note of where the origin goes on, and let those go on who wait for that. On the engine."""
        succeed(self.placed, offset)

    def fail(self, error: CellError) -> None:
        """Take note that the stream has failed. On the engine."""
        fail(self.placed, error)

    def _choose(self, offset: int, prefix: Hasher | None = None) -> bool:
        with self._lock:
            if self._chosen is not None:
                return False
            self._chosen = offset
            self._prefix = prefix
        self._owner.on_chosen(offset, None if prefix is None else prefix.digest())
        return True


def begin_resume(
    resumption: Resumption | None, position: int, origin: str, offset: int, have: BinaryIO | None
) -> AnyFuture | None:
    """Choose ``offset`` for a stream that stands at ``position``; return a future of where its origin goes on.

    Args:
        resumption: the stream's choice; None if it starts at 0 in any case.
        position: how far it was read.
        origin: who sends it, for the sentence.
        offset: what the application wants.
        have: what it has below that; read here.

    Returns:
        The future, or None if the stream starts at 0 as it was to.

    Raises:
        UsageError: ``offset`` is not an offset, or ``have`` cannot be read.
        StreamResumeError: reading has begun, another choice was made before, ``have`` is shorter, or the stream is
            none that goes on.
    """
    if resumption is not None:
        return resumption.begin(offset, have)
    offset = check_offset(offset)
    if position:
        raise StreamResumeError("resume_from() comes before the first read")
    if offset:
        raise StreamResumeError(f"the stream from {origin} starts at 0: the origin has agreed to nothing else")
    return None


def check_offset(offset: object) -> int:
    """Return an argument that is to be an offset.

    Raises:
        UsageError: it is not a whole number, or negative, or larger than what can travel.
    """
    return check_whole(offset, "an offset")


def check_placed(chosen: int, placed: int, origin: str) -> None:
    """Compare where a stream was to go on with where it does.

    Raises:
        StreamResumeError: the origin could not agree.
    """
    if placed != chosen:
        raise StreamResumeError(
            f"{origin} cannot go on at {chosen}: what it sends is shorter, or differs below that, so it goes on at "
            f"{placed}"
        )


def _check_file(have: object) -> None:
    methods = getattr(have, "seek", None), getattr(have, "read", None)
    if not all(map(callable, methods)) or isinstance(have, io.TextIOBase):
        raise UsageError(
            f"have must be a binary file that can be read and can seek, not a {type(have).__name__}: open it in "
            "binary mode ('rb')"
        )


def hash_prefix(have: BinaryIO, size: int) -> Hasher:
    """Return the hash of the first ``size`` bytes of a file, which then stands behind them.

    Raises:
        StreamResumeError: it has fewer.
    """
    hasher = Hasher()
    have.seek(0)
    left = size
    while left > 0:
        piece = have.read(min(left, _PIECE_BYTES))
        if not piece:
            raise StreamResumeError(f"there are only {size - left} bytes to go on from, not {size}")
        hasher.update(piece)
        left -= len(piece)
    return hasher
