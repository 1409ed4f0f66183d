"""Control frames of one link, until a lane takes them.

Frames are not given to a lane when they arise but when its writer asks: until then one-off frames wait here in order,
and streams that have something to say stand here by name, so that a Credit or an Ack that was overtaken by a later one
is never sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from streamcell.limits import ANSWERS, BATCH_FRAMES, WORDS
from streamcell.protocol.wire.frames import Frame


class Speaker(Protocol):
    """Something of which the state is told, as it is when there is a lane to tell it on."""

    def take_control_frames(self, lane_id: int, now: float) -> Sequence[Frame]:
        """Return the frames that are due, as things stand now: they go on that lane at once."""
        ...


class Outbox:
    """What a link has to say beside chunks.

    Who is there is said first, then what names that are contested depend on, and who is not there any more last.
    """

    def __init__(self) -> None:
        self._pressing: deque[Frame] = deque()
        self._frames: deque[Frame] = deque()
        self._speakers: dict[Speaker, None] = {}
        self._first: Speaker | None = None
        self._last: Speaker | None = None

    def __bool__(self) -> bool:
        return bool(self._frames or self._speakers or self._first or self._last or self._pressing)

    @property
    def room(self) -> int:
        """How many answers it still takes."""
        return ANSWERS - len(self._frames)

    def post(self, frame: Frame) -> None:
        """Add a frame that is sent once."""
        self._frames.append(frame)

    def press(self, frame: Frame) -> bool:
        """Add a frame that may not wait for others, unless too many of those wait. Returns whether."""
        if len(self._pressing) >= ANSWERS:
            return False
        self._pressing.append(frame)
        return True

    def take_back(self, kind: type[Frame]) -> None:
        """Forget what was posted of one kind."""
        self._frames = deque(frame for frame in self._frames if not isinstance(frame, kind))

    def answer(self, frame: Frame) -> bool:
        """Add the answer to a frame, unless the neighbour asks more than it listens. Returns whether."""
        return self._add_up_to(ANSWERS, frame)

    def say(self, frame: Frame) -> bool:
        """Add a word about a stream that nobody here will say again by himself, unless very many wait."""
        return self._add_up_to(WORDS, frame)

    def _add_up_to(self, most: int, frame: Frame) -> bool:
        if len(self._frames) >= most:
            return False
        self._frames.append(frame)
        return True

    def note(self, speaker: Speaker) -> None:
        """Remember that ``speaker`` has something to say."""
        self._speakers[speaker] = None

    def forget(self, speaker: Speaker) -> None:
        """What ``speaker`` has to say goes another way."""
        self._speakers.pop(speaker, None)

    def note_first(self, speaker: Speaker) -> None:
        """Remember that ``speaker`` has something to say before all others: who is there, or nobody else is heard."""
        self._first = speaker

    def note_last(self, speaker: Speaker) -> None:
        """Remember that ``speaker`` has something to say after all others: who is not there any more."""
        self._last = speaker

    def take(self, most: int, lane_id: int, now: float) -> list[Frame]:
        """Return up to about ``most`` frames, for a lane."""
        taken: list[Frame] = []
        if self._first is not None:
            first, self._first = self._first, None
            taken.extend(first.take_control_frames(lane_id, now))
        while self._pressing and len(taken) < BATCH_FRAMES // 4:
            taken.append(self._pressing.popleft())
        while self._frames and len(taken) < most:
            taken.append(self._frames.popleft())
        while self._speakers and len(taken) < most:
            speaker = next(iter(self._speakers))
            del self._speakers[speaker]
            taken.extend(speaker.take_control_frames(lane_id, now))
        if self._last is not None and len(taken) < most:
            last, self._last = self._last, None
            taken.extend(last.take_control_frames(lane_id, now))
        return taken

    def clear(self) -> None:
        """Forget everything."""
        self._pressing.clear()
        self._frames.clear()
        self._speakers.clear()
        self._first = self._last = None
