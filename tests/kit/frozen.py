"""Frames that cannot be changed, for tests: freezing them for good would cost too much of the time to make one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

import pytest

from streamcell.protocol.wire import frames

KINDS: tuple[type, ...] = (*get_args(frames.Frame), frames.Open, frames.CellInfo)


class FrameChanged(AssertionError):
    """Something has assigned a field of a frame that was made already."""


@contextmanager
def frozen_frames() -> Iterator[None]:
    """Make it an error to change a frame while this is entered."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in KINDS:
            patch.setattr(kind, "__setattr__", _set_once)
        yield


def _set_once(frame: object, name: str, value: Any) -> None:
    if hasattr(frame, name):
        raise FrameChanged(f"{type(frame).__name__}.{name} was changed: make another frame")
    object.__setattr__(frame, name, value)
