"""Where frames of sealed streams leave this cell, and where they come in.

Inside, a frame of a sealed stream is like any other, and names the session that it is sealed under. It is sealed when a
writer takes it, once, and opened before anything is made of it. What does not prove itself does nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol, TypeAlias

from streamcell.digest import Digest, HiddenDigest
from streamcell.protocol.base.context import Context, Count
from streamcell.protocol.base.keys import AttemptKeys, StreamKeys
from streamcell.protocol.links.link import Link
from streamcell.protocol.sealing.table import SealingTable, Session
from streamcell.protocol.wire.addressing import StreamFrame, goes_to_target
from streamcell.protocol.wire.covered import Place, covered_by_chunk, covered_by_code, covered_by_opening, in_common
from streamcell.protocol.wire.description import ReplyTo, StreamDescription
from streamcell.protocol.wire.frames import (
    NO_STREAM,
    Ack,
    Chunk,
    Frame,
    Lost,
    LostReason,
    Open,
    Reset,
    ResumeQuery,
    ResumeReply,
    Seal,
    StreamKey,
)
from streamcell.protocol.wire.integrity import checksum_fields

_Steering: TypeAlias = Ack | Lost | Reset | ResumeQuery | ResumeReply
_SEALED = (Chunk, Ack, ResumeReply, ResumeQuery, Reset, Lost)
# Streams whose keys are kept at hand: they are made anew in microseconds.
_AT_HAND = 256


class ForgeryObserver(Protocol):
    """Who is told of chunks that are not what their origin has sealed."""

    def on_forged_chunk(self, link: Link, chunk: Chunk, now: float) -> None:
        """A chunk of a sealed stream was changed on the way."""
        ...


class _AtHand:
    """The keys of a stream, and of the attempt that was sealed or opened last, with what all in it is bound to."""

    __slots__ = ("attempt", "cipher", "common", "keys")

    def __init__(self, keys: StreamKeys) -> None:
        self.keys = keys
        self.attempt = 0
        self.cipher: AttemptKeys | None = None
        self.common = b""

    def at(self, place: Place) -> AttemptKeys:
        """Return what seals and opens in that attempt."""
        cipher = self.cipher
        if cipher is None or self.attempt != place.attempt:
            cipher = self.cipher = self.keys.of_attempt(place.attempt)
            self.attempt = place.attempt
            self.common = in_common(place)
        return cipher


class Border:
    """Seals what goes, and opens what comes."""

    def __init__(self, context: Context, sealing: SealingTable, observer: ForgeryObserver) -> None:
        self._context = context
        self._sealing = sealing
        self._observer = observer
        self._at_hand: dict[tuple[bytes, StreamKey, str], _AtHand] = {}

    # What goes.

    def seal(self, frames: list[Frame]) -> list[Frame]:
        """Return a batch with the frames of sealed streams of this cell sealed; without those that cannot be."""
        if not self._sealing.seals:
            return frames
        sealed: list[Frame] = []
        for frame in frames:
            if isinstance(frame, _SEALED) and frame.seal is not None and not frame.seal.proof:
                sealed += self._sealed(frame, frame.seal.session_id)
            else:
                sealed.append(frame)
        return sealed

    def _sealed(self, frame: StreamFrame, session_id: bytes) -> Sequence[Frame]:
        peer = frame.target if goes_to_target(frame) else frame.key.origin
        # A later session of the two does as well, where that one was forgotten since.
        session = self._sealing.find(peer, session_id) or self._sealing.newest_with(peer)
        if session is None or frame.key.origin_incarnation != _origin_life(session, frame):
            return ()
        session_id = session.lives.session_id
        hand = self._hand(session, frame)
        if isinstance(frame, Chunk):
            return (self._sealed_chunk(frame, session, hand),)
        shown: _Steering = frame
        if isinstance(frame, ResumeReply) and frame.prefix_digest is not None:
            shown = dataclasses.replace(frame, prefix_digest=hand.keys.hide("prefix", frame.prefix_digest.text))
        code = hand.keys.code(covered_by_code(session_id, _target_life(session, frame), shown))
        return (dataclasses.replace(shown, seal=Seal(session_id, code)),)

    def _sealed_chunk(self, chunk: Chunk, session: Session, hand: _AtHand) -> Chunk:
        session_id = session.lives.session_id
        place = Place(session_id, chunk.key, chunk.target, chunk.attempt, chunk.channel, chunk.topic)
        cipher = hand.at(place)
        digest = None if chunk.digest is None else hand.keys.hide("digest", chunk.digest.text)
        bound = covered_by_chunk(hand.common, chunk.sequence, chunk.offset, digest, last=chunk.last)
        payload, tag = cipher.seal(chunk.sequence, chunk.payload, bound)
        opening = chunk.open
        if opening is not None:
            hidden = cipher.seal_opening(opening.description, covered_by_opening(hand.common, opening))
            shown = _shown(opening.description)
            opening = dataclasses.replace(opening, description=shown, sealing_envelope=hidden)
        return self._with(chunk, payload, opening, digest, Seal(session_id, tag))

    def _with(
        self, chunk: Chunk, payload: bytes | memoryview, opening: Open | None, digest: Digest | None, seal: Seal
    ) -> Chunk:
        """Return a chunk with other contents, and with their checksum."""
        checksum = self._context.checksum
        fields = checksum_fields(chunk.key, chunk.attempt, chunk.sequence, chunk.offset, last=chunk.last)
        return Chunk(
            chunk.key,
            chunk.target,
            chunk.attempt,
            chunk.channel,
            chunk.topic,
            chunk.sequence,
            chunk.offset,
            chunk.last,
            chunk.hops_left,
            checksum(fields, checksum(payload, 0)),
            payload,
            opening,
            digest,
            seal=seal,
        )

    # What comes.

    def open(self, link: Link, frame: StreamFrame, now: float) -> StreamFrame | None:
        """Return a frame of a sealed stream for this cell as its other end has made it; None if it proves nothing.

        What is said of a stream of another life of this cell is not opened: all that is made of it is a sign of life.
        """
        seal = frame.seal
        if seal is None or self._context.was_own(frame.key):
            return frame
        to_target = goes_to_target(frame)
        session = self._sealing.find(frame.key.origin if to_target else frame.target, seal.session_id)
        if session is None or frame.key.origin_incarnation != _origin_life(session, frame):
            self._say_no_session(link, frame)
            return None
        hand = self._hand(session, frame)
        if isinstance(frame, Chunk):
            return self._opened_chunk(link, frame, seal, session, hand, now)
        life = _target_life(session, frame)
        proven = hand.keys.proves(seal.proof, covered_by_code(seal.session_id, life, frame))
        if not proven or (isinstance(frame, Ack | ResumeReply) and frame.target_incarnation != life):
            self._refuse()
            return None
        self._sealing.note_heard(session, now)
        if isinstance(frame, ResumeReply) and frame.prefix_digest is not None:
            return dataclasses.replace(frame, prefix_digest=_hidden(frame.prefix_digest, "prefix", hand.keys))
        return frame

    def _opened_chunk(
        self, link: Link, chunk: Chunk, seal: Seal, session: Session, hand: _AtHand, now: float
    ) -> Chunk | None:
        place = Place(seal.session_id, chunk.key, chunk.target, chunk.attempt, chunk.channel, chunk.topic)
        cipher = hand.at(place)
        bound = covered_by_chunk(hand.common, chunk.sequence, chunk.offset, chunk.digest, last=chunk.last)
        payload = cipher.open(chunk.sequence, chunk.payload, seal.proof, bound)
        opening = chunk.open
        if opening is not None and payload is not None:
            description = cipher.open_opening(
                opening.description, opening.sealing_envelope, covered_by_opening(hand.common, opening)
            )
            if description is None or opening.target_incarnation not in (0, _target_life(session, chunk)):
                payload = None
            else:
                described = dataclasses.replace(description, sealed=True)
                opening = dataclasses.replace(opening, description=described, sealing_envelope=b"")
        if payload is None:
            self._observer.on_forged_chunk(link, chunk, now)
            return None
        self._sealing.note_heard(session, now)
        digest = None if chunk.digest is None else _hidden(chunk.digest, "digest", hand.keys)
        return self._with(chunk, payload, opening, digest, seal)

    def _say_no_session(self, link: Link, frame: StreamFrame) -> None:
        """Have the origin of a chunk or a question begin another handshake; nothing else is worth a word."""
        if isinstance(frame, (Chunk, ResumeQuery)) and frame.key.stream_id != NO_STREAM:
            link.answer(Lost.of(frame, LostReason.NO_SESSION, self._context.fqcn))
        else:
            self._refuse()

    def _refuse(self) -> None:
        self._context.counters.add(Count.FRAMES_UNPROVEN)

    def _hand(self, session: Session, frame: StreamFrame) -> _AtHand:
        """Return the keys of the frame's stream."""
        name = (session.lives.session_id, frame.key, frame.target)
        hand = self._at_hand.get(name)
        if hand is None:
            if len(self._at_hand) >= _AT_HAND:
                self._at_hand.clear()
            hand = self._at_hand[name] = _AtHand(session.keys.keys_of(frame.key.origin, frame.key.stream_id))
        return hand


def _origin_life(session: Session, frame: StreamFrame) -> int:
    lives = session.lives
    is_initiator = frame.key.origin == lives.initiator
    return lives.initiator_incarnation if is_initiator else lives.responder_incarnation


def _target_life(session: Session, frame: StreamFrame) -> int:
    lives = session.lives
    is_initiator = frame.key.origin == lives.initiator
    return lives.responder_incarnation if is_initiator else lives.initiator_incarnation


def _shown(description: StreamDescription) -> StreamDescription:
    """Return what a stream does not hide of its description."""
    reply = description.reply_to
    if reply is None and not (description.headers or description.source_stamp or description.digest):
        return description
    shown = None if reply is None else ReplyTo(reply.request_id, reply.incarnation)
    return dataclasses.replace(description, headers=(), source_stamp=b"", digest=None, reply_to=shown)


def _hidden(digest: Digest, what: str, keys: StreamKeys) -> HiddenDigest:
    return HiddenDigest(digest.text, lambda text: keys.hide(what, text))
