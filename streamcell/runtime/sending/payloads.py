"""Turning what an application sends into views of bytes, without joining them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from typing import Any

from streamcell.errors import StreamUsageError
from streamcell.protocol.wire.frames import Payload
from streamcell.runtime.sending.advice import hides_items, refusal

# In the format of a buffer of structures (PEP 3118): the name behind a field's type.
_FIELD_NAME = re.compile(":[^:]*:")


def flatten_payload(payload: Any, copy_up_to: int, *, copy: bool = False) -> tuple[list[Payload], int]:
    """Return the bytes of ``payload`` as a list of flat pieces, and their number.

    Accepted: None (no bytes), anything with the buffer protocol and whatever item size and shape, and lists and tuples
    of these. Elements are sent in C order, in the machine's byte order. What takes more than ``copy_up_to`` bytes in
    total is referred to, not copied, unless it is not contiguous or ``copy`` is true: it must not change while the
    pieces are in use. ``bytes`` cannot change, and are never copied for that.

    Raises:
        StreamUsageError: naming the type and what to do, for anything else.
    """
    parts = payload if isinstance(payload, list | tuple) else [] if payload is None else [payload]
    pieces = [flatten_buffer(part) for part in parts]
    size = sum(len(piece) for piece in pieces)
    if size <= copy_up_to:
        return _copied(pieces), size
    return [bytes(piece) if copy else piece for piece in pieces if len(piece)], size


def flatten_buffer(buffer: Any) -> Payload:
    """Return the bytes of one object that has the buffer protocol: a view if it is contiguous, else a copy.

    Raises:
        StreamUsageError: naming the type and what to do, if the object does not give out its bytes.
    """
    if isinstance(buffer, bytes):
        return buffer
    try:
        view = memoryview(buffer)
    except (TypeError, ValueError, BufferError) as error:
        raise StreamUsageError(refusal(buffer)) from error
    if "O" in _FIELD_NAME.sub("", view.format) or hides_items(buffer):
        raise StreamUsageError(refusal(buffer))
    if not view.c_contiguous:
        return view.tobytes()
    if view.format == "B" and view.ndim == 1:
        return view
    # memoryview.cast() knows native formats only; this gives the plain bytes of any contiguous buffer.
    return pickle.PickleBuffer(view).raw()


def _copied(pieces: Sequence[Payload]) -> list[Payload]:
    if len(pieces) == 1 and isinstance(pieces[0], bytes):
        return [pieces[0]] if pieces[0] else []
    joined = b"".join(pieces)
    return [joined] if joined else []
