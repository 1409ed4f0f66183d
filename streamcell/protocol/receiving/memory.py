"""Memory for the streams that a cell receives.

The rules are those of ``credit.py`` and ``admission.py``. Here is who they apply to: a stream that is read piece by
piece has a window out of the windows' budget; what is assembled whole waits until there is memory for all of it, or, if
its size is not known, gets credit for one window after the other. Blobs share one memory, requests and replies another,
so that a large blob does not hold up an answer.

Those who wait hear of it when memory is given back (``on_admitted``, ``on_memory_freed``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamcell.config import CellConfig
from streamcell.protocol.flow.admission import Admission
from streamcell.protocol.flow.charges import Charge, charge, first_bytes
from streamcell.protocol.flow.credit import BLOB_GROWTH, Window, WindowBudget
from streamcell.protocol.wire.addressing import Party
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Open, StreamKey

if TYPE_CHECKING:
    from streamcell.protocol.receiving.half import StreamReceiver

# What is kept apart from blobs.
_OF_REQUESTS = (StreamKind.REQUEST, StreamKind.REPLY)
# More than all cells of a process could hold.
_NO_BOUND = 1 << 62


class ReceiveMemory:
    """Gives each receiver its window, and admits those that are assembled.

    :ivar max_blob_bytes: what is larger is not assembled here.
    """

    def __init__(self, config: CellConfig, budget: WindowBudget) -> None:
        self.max_blob_bytes = config.max_blob_bytes
        self._max_window = config.max_window_bytes
        self._budget = budget
        # What is assembled is counted when it is admitted, so its windows share nothing.
        self._assembled = WindowBudget(_NO_BOUND)
        self._blobs = Admission(config.blob_budget_bytes, config.max_blob_bytes)
        self._requests = Admission(config.request_budget_bytes, config.max_blob_bytes)
        # Those in line for admission, and those that were admitted and have no memory to go on.
        self._in_line: dict[StreamKey, StreamReceiver] = {}
        self._starved: dict[StreamKey, StreamReceiver] = {}

    def charge(self, party: Party, opening: Open, *, is_free: bool) -> Charge | None:
        """Count the initial credit and the headers of a stream that begins; None: it is too much."""
        return charge(self._budget, party, first_bytes(opening.description.size), opening, is_free=is_free)

    def window(self, party: Party) -> Window:
        """Return the window that a stream begins with."""
        return Window(self._budget, party, self._max_window)

    def window_in_blobs(self, party: Party) -> Window:
        """Return that of what is kept in the memory of blobs: it is no part of the windows' budget."""
        return Window(self._assembled, party, self._max_window, BLOB_GROWTH)

    def reserve(self, receiver: StreamReceiver, now: float) -> None:
        """Admit a receiver as soon as there is memory for it."""
        admission, key = self._admission(receiver), receiver.key
        if admission.request(key, receiver.party, receiver.progress.size):
            receiver.on_admitted(now)
        else:
            self._in_line[key] = receiver
            self._admit_waiting(admission, now)

    def in_line(self) -> int:
        """Return how many wait for memory."""
        return len(self._in_line)

    def is_wanted_by_others(self, receiver: StreamReceiver) -> bool:
        """Return whether a receiver has memory for more, and another origin waits for some of the same."""
        return receiver.holds_memory and self._admission(receiver).others_wait(receiver.party)

    def take_more(self, receiver: StreamReceiver, size: int) -> bool:
        """Take ``size`` bytes for a receiver of unknown size; if there are none, it hears when there may be some."""
        admission = self._admission(receiver)
        contested = bool(self._starved) and any(
            other.party != receiver.party and self._admission(other) is admission for other in self._starved.values()
        )
        taken = admission.grow(receiver.key, size, contested=contested)
        if taken:
            self._starved.pop(receiver.key, None)
        else:
            self._starved[receiver.key] = receiver
        return taken

    def note_whole(self, receiver: StreamReceiver) -> None:
        """All of a stream is here: it needs no more."""
        self._starved.pop(receiver.key, None)

    def leave_line(self, receiver: StreamReceiver) -> None:
        """A receiver that is about to end does not come in when another one makes room before."""
        if self._in_line.pop(receiver.key, None) is not None:
            self._admission(receiver).release(receiver.key)

    def free(self, receiver: StreamReceiver, now: float) -> None:
        """Let others have what a receiver that has ended holds, or its place in line."""
        admission, key = self._admission(receiver), receiver.key
        admission.release(key)
        self._in_line.pop(key, None)
        self._starved.pop(key, None)
        self._admit_waiting(admission, now)
        if self._starved:
            for starved in list(self._starved.values()):
                starved.on_memory_freed()

    def _admission(self, receiver: StreamReceiver) -> Admission:
        if receiver.description.kind in _OF_REQUESTS:
            return self._requests
        return self._blobs

    def _admit_waiting(self, admission: Admission, now: float) -> None:
        while (key := admission.next_admitted()) is not None:
            self._in_line.pop(key).on_admitted(now)
