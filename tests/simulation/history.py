"""What happened in a history, as lines to read."""

from __future__ import annotations

import dataclasses
from collections import deque

from streamcell.protocol.wire.frames import Frame
from tests.simulation.agenda import START_S, Agenda

_KEPT_LINES = 5000
_SHOWN_FIELDS = 160


class History:
    """The last lines of what was done to the cells and, if ``trace`` is set, of all that they said."""

    def __init__(self, agenda: Agenda, *, trace: bool) -> None:
        self.trace = trace
        self._agenda = agenda
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)

    def note(self, text: str) -> None:
        """Add a line."""
        self._lines.append(f"{self._agenda.now - START_S:10.4f} {text}")

    def note_frame(self, sender: str, lane_id: int, receiver: str, frame: Frame, fate: str) -> None:
        """Add a frame that was put on a lane."""
        if self.trace:
            fields = ", ".join(
                f"{field.name}={_short(getattr(frame, field.name))}"
                for field in dataclasses.fields(frame)
                if field.name not in {"channel", "topic", "checksum", "hops_left", "target"}
            )
            self.note(f"  {sender}/{lane_id} > {receiver} {type(frame).__name__}({fields[:_SHOWN_FIELDS]}){fate}")

    def last(self, most: int) -> list[str]:
        """Return the last lines."""
        return list(self._lines)[-most:]


def _short(value: object) -> str:
    if isinstance(value, bytes | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, tuple) and hasattr(value, "stream_id"):
        return f"{value.origin}#{value.stream_id}"  # type: ignore[attr-defined]
    if dataclasses.is_dataclass(value):
        return f"{type(value).__name__}"
    return repr(value)
