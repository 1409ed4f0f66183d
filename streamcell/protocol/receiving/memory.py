"""Memory for the streams that a cell receives.

The rules are those of ``credit.py``. Here is who they apply to: a stream that is read piece by piece has a window out
of the windows' budget; what is assembled whole waits until there is memory for all of it, or, if its size is not
known, gets credit for one window after the other. Blobs share one memory, requests and replies another, so that a
large blob does not hold up an answer.
"""

from __future__ import annotations

from typing import Protocol

from streamcell.errors import CellError
from streamcell.protocol.base.context import Context
from streamcell.protocol.flow.credit import BLOB_GROWTH, Admission, Window, WindowBudget
from streamcell.protocol.receiving import errors as receive_errors
from streamcell.protocol.receiving.half import StreamReceiver
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import StreamKey


class AdmissionOwner(Protocol):
    """What the table of all receivers does with one."""

    def find(self, key: StreamKey) -> StreamReceiver | None:
        """Return the receiver of a stream that has not ended."""

    def begin(self, receiver: StreamReceiver, now: float) -> None:
        """There is memory for the stream: hand over what came before, and let its origin go on."""

    def speak(self, receiver: StreamReceiver) -> None:
        """Let a receiver say what it has to say."""

    def give_up(self, receiver: StreamReceiver, error: CellError, now: float) -> None:
        """End a stream from this side."""


class ReceiveMemory:
    """Gives each receiver its window, and admits those that are assembled."""

    def __init__(self, context: Context, budget: WindowBudget, owner: AdmissionOwner) -> None:
        config = context.config
        self._fqcn = context.fqcn
        self._max_blob = config.max_blob_bytes
        self._max_window = config.max_window_bytes
        self._budget = budget
        self._blobs = Admission(config.blob_budget_bytes)
        self._requests = Admission(config.request_budget_bytes)
        self._starved: dict[StreamKey, StreamReceiver] = {}
        self._owner = owner

    def window(self) -> Window:
        """Return the window that a stream begins with."""
        return Window(self._budget, self._max_window)

    def assemble(self, receiver: StreamReceiver) -> None:
        """What comes is kept in the memory of blobs, so its window is not part of the windows' budget."""
        receiver.window.close()
        receiver.window = Window(WindowBudget(self._max_window), self._max_window, BLOB_GROWTH)

    def refuse_size(self, receiver: StreamReceiver, size: int, now: float) -> bool:
        """Give up what is to be assembled if it is larger than this cell takes; return whether it was."""
        if size <= self._max_blob:
            return False
        self._owner.give_up(receiver, receive_errors.too_large(self._fqcn, self._max_blob, size), now)
        return True

    def reserve(self, receiver: StreamReceiver, now: float) -> None:
        """Have a receiver begin as soon as there is memory for it."""
        admission = self._admission(receiver)
        admission.request(receiver.key, receiver.size)
        self._admit_waiting(admission, now)

    def grow(self, receiver: StreamReceiver) -> None:
        """Give a blob of unknown size the credit for one window more, when there is memory for it."""
        receiver.window.grow(receiver.consumed, receiver.received)
        wanted = receiver.consumed + receiver.window.size - receiver.limit
        if wanted <= 0:
            return
        if not receiver.reserves or self._admission(receiver).grow(receiver.key, wanted):
            self._starved.pop(receiver.key, None)
            receiver.extend_credit(receiver.limit + wanted)
        else:
            self._starved[receiver.key] = receiver

    def note_whole(self, receiver: StreamReceiver) -> None:
        """All of a stream is here: it needs no more."""
        self._starved.pop(receiver.key, None)

    def free(self, receiver: StreamReceiver, now: float) -> None:
        """Let others have what a receiver that has ended holds, or its place in line."""
        admission = self._admission(receiver)
        admission.release(receiver.key)
        self._starved.pop(receiver.key, None)
        self._admit_waiting(admission, now)
        for starved in list(self._starved.values()):
            self.grow(starved)
            self._owner.speak(starved)

    def _admission(self, receiver: StreamReceiver) -> Admission:
        if receiver.description.kind in (StreamKind.REQUEST, StreamKind.REPLY):
            return self._requests
        return self._blobs

    def _admit_waiting(self, admission: Admission, now: float) -> None:
        while (key := admission.next_admitted()) is not None:
            receiver = self._owner.find(key)
            if receiver is not None:
                self._owner.begin(receiver, now)
