"""What a sealed stream hides of its description, out of it and into it again."""

from __future__ import annotations

import dataclasses

import pytest

from streamcell.digest import Digest
from streamcell.errors import ErrorCode, ProtocolError
from streamcell.protocol.wire.description import ReplyTo, StreamDescription, StreamKind
from streamcell.transport.descriptions import hidden_of, with_hidden

PLAIN = StreamDescription(StreamKind.REPLY, 5)
DIGEST = Digest.parse("sha256:" + "ab" * 32)
HIDDEN = {
    "headers": {"headers": (("key", "value"),)},
    "stamp": {"source_stamp": b"stamp"},
    "digest": {"digest": DIGEST},
    "reply": {"reply_to": ReplyTo(3, 4, ErrorCode.REJECTED, "no")},
}


def without(described: StreamDescription) -> StreamDescription:
    """Return what is sent in plain."""
    reply = (
        None if described.reply_to is None else ReplyTo(described.reply_to.request_id, described.reply_to.incarnation)
    )
    return dataclasses.replace(described, headers=(), source_stamp=b"", digest=None, reply_to=reply)


@pytest.mark.parametrize("what", HIDDEN)
def test_what_is_hidden_comes_back(what: str) -> None:
    described = dataclasses.replace(PLAIN, **HIDDEN[what])  # type: ignore[arg-type]
    assert with_hidden(without(described), hidden_of(described)) == described


def test_where_nothing_is_hidden_nothing_changes() -> None:
    assert hidden_of(PLAIN) == b""
    assert with_hidden(PLAIN, b"") == PLAIN


@pytest.mark.parametrize("what", HIDDEN)
@pytest.mark.parametrize("hidden", [b"", hidden_of(dataclasses.replace(PLAIN, source_stamp=b"other"))])
def test_what_is_added_in_plain_does_not_count(what: str, hidden: bytes) -> None:
    added = dataclasses.replace(PLAIN, **HIDDEN[what])  # type: ignore[arg-type]
    found = with_hidden(added, hidden)
    assert found == dataclasses.replace(without(added), source_stamp=b"other" if hidden else b"")


def test_what_is_no_open_part_is_an_error() -> None:
    with pytest.raises(ProtocolError, match="malformed"):
        with_hidden(PLAIN, b"\xff")
