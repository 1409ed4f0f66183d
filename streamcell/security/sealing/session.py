"""What two lives of cells share when their handshake is done."""

from __future__ import annotations

import datetime as dt
from typing import NamedTuple

from streamcell.protocol.wire.covered import Lives
from streamcell.security.credentials import Credentials
from streamcell.security.identity import Identity
from streamcell.security.sealing.keys import CodeKey, CodeSecret, ContentKey, ContentSecret


class StreamKeys(NamedTuple):
    """The keys of one stream: for its contents, and for the frames that steer it."""

    content: ContentKey
    code: CodeKey


class Session:
    """Keys for the streams between two lives of cells, in both directions.

    :param lives: of whom, and which one has begun the handshake.
    :param peer: what the other one's certificate proves.
    :param shown: its certificate and those between it and its authority, in PEM.
    """

    __slots__ = ("_codes", "_contents", "_shown", "lives", "peer")

    def __init__(self, lives: Lives, peer: Identity, shown: bytes, contents: ContentSecret, codes: CodeSecret) -> None:
        self.lives = lives
        self.peer = peer
        self._shown = shown
        self._contents = contents
        self._codes = codes

    def __repr__(self) -> str:
        return f"<Session of {self.lives.initiator} with {self.lives.responder}>"

    def keys_of(self, origin: str, stream_id: int) -> StreamKeys:
        """Return the keys of a stream that one of the two sends to the other."""
        by_initiator = origin == self.lives.initiator
        return StreamKeys(
            self._contents.of_stream(stream_id, from_initiator=by_initiator),
            self._codes.of_stream(stream_id, from_initiator=by_initiator),
        )

    def fault_in(self, credentials: Credentials, now: dt.datetime) -> str:
        """Return why the other one is not to be believed any more, as a part of a sentence; empty if it is."""
        return credentials.fault_in(self._shown, now)
