"""What the core tells the shell.

The shell takes events with ``CellCore.next_event()`` until there is none, after each call into the core. Handling an
event may call the core again.
"""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

from streamcell.digest import Digest
from streamcell.errors import CellError
from streamcell.protocol.wire.addressing import Party
from streamcell.protocol.wire.covered import Lives
from streamcell.protocol.wire.description import StreamDescription
from streamcell.protocol.wire.frames import LaneRole, Payload, StreamKey
from streamcell.topology import Hop, KnownCells


@dataclasses.dataclass(slots=True)
class LaneWanted:
    """Dial a lane to an address of ``uplink`` and report with ``lane_connected`` or ``lane_closed``.

    ``place``: which of the addresses, counted from 0.
    """

    lane_id: int
    uplink: int
    role: LaneRole
    place: int


@dataclasses.dataclass(slots=True)
class LaneDropped:
    """Close the lane now, or stop dialling it. With ``flush``, first write what ``frames_to_send`` still gives.

    The core has forgotten the lane when this event is taken, except that ``frames_to_send`` may be called until
    ``lane_closed`` if ``flush`` is set.
    """

    lane_id: int
    flush: bool


@dataclasses.dataclass(slots=True)
class CellConnected:
    """A neighbour is there, and its name, or this cell's at the parent, is accepted all the way up.

    ``uplink``: the number of the uplink, if the neighbour is the parent. ``identity``: what the neighbour has proved to
    be called; empty: nothing.
    """

    fqcn: str
    uplink: int | None
    identity: str = ""


@dataclasses.dataclass(slots=True)
class CellDisconnected:
    """The link to a neighbour is down (not merely reconnecting). ``left``: it has said Goodbye, and is no loss."""

    fqcn: str
    uplink: int | None
    left: bool


@dataclasses.dataclass(slots=True)
class UplinkRefused:
    """Whoever was dialled refused the link, or it ended because one of the two could not read the other.

    ``firm``: whoever answers would do so again, at each address. It is dialled again all the same, slowly.
    ``shortcut``: it was dialled for a shortcut, and is not the parent.
    """

    uplink: int
    error: CellError
    firm: bool
    shortcut: bool


@dataclasses.dataclass(slots=True)
class UplinkEnded:
    """The uplink with this number is dialled no more, and was forgotten."""

    uplink: int


@dataclasses.dataclass(slots=True)
class ProtocolBroken:
    """A link or lane ends because of what one side had sent: something against a rule, or more than a limit allows.

    Said once for each link. A parent's word is UplinkRefused, and so is this cell's about a parent.

    ``fqcn``: the neighbour; empty: it had not said who it is. ``by_neighbour``: it was the neighbour; else that one
    says so of this cell.
    """

    fqcn: str
    address: str
    sentence: str
    by_neighbour: bool


@dataclasses.dataclass(slots=True)
class SourceWanted:
    """The stream that this cell sends can take ``size_bytes`` more bytes: ``supply`` them, or ``end_source``.

    Emitted again only when all of them were supplied and there is room anew.
    """

    stream_id: int
    size_bytes: int


@dataclasses.dataclass(slots=True)
class SourceSeekWanted:
    """The target wants the stream from ``offset`` on. Answer with ``source_moved``, or ``source_stuck``.

    Nothing that is supplied before the answer counts. ``prefix_digest``: if not None, that of what the target has
    below ``offset``; if the source differs there, or is shorter, move it to 0 instead.
    """

    stream_id: int
    offset: int
    prefix_digest: Digest | None


@dataclasses.dataclass(slots=True)
class SendProgressed:
    """The target confirmed having received every byte below ``received``. May fall when the target restarted."""

    stream_id: int
    received: int


@dataclasses.dataclass(slots=True)
class SendPlaced:
    """The target goes on at ``offset``, with everything below.

    ``skipped``: how many of these bytes it had before, beyond those that it confirmed last and those that were on their
    way to it.
    """

    stream_id: int
    offset: int
    skipped: int


@dataclasses.dataclass(slots=True)
class SendFinished:
    """The target confirmed the whole stream."""

    stream_id: int
    size_bytes: int


@dataclasses.dataclass(slots=True)
class SendFailed:
    """The stream that this cell sends failed. Nothing more will be asked of its source."""

    stream_id: int
    error: CellError


@dataclasses.dataclass(slots=True)
class StreamOpened:
    """Another cell sends a stream here. Answer with ``accept`` or ``reject``, at once or later.

    ``seen_before``: an earlier life of this cell had acknowledged part of it. ``awaits_offset``: the origin sends
    nothing before it was told by ``choose_offset`` where to go on. ``party``: who it shares with others for.
    ``identity``: what the neighbour that it came by has proved to be called; empty: nothing.
    """

    key: StreamKey
    party: Party
    channel: str
    topic: str
    description: StreamDescription
    seen_before: bool
    awaits_offset: bool
    identity: str = ""


@dataclasses.dataclass(slots=True)
class PassageAsked:
    """An attempt to send a stream comes from a child to pass through. Answer with ``judge_passage``, soon.

    Nothing goes on before. ``party``: who it shares with others for. ``identity``: what the child has proved to be
    called.
    """

    key: StreamKey
    attempt: int
    target: str
    party: Party
    channel: str
    topic: str
    description: StreamDescription
    identity: str


@dataclasses.dataclass(slots=True)
class StreamPlaced:
    """The origin goes on at ``offset``: the one that was chosen, or 0 if it could not agree to that. Data follows."""

    key: StreamKey
    offset: int


@dataclasses.dataclass(slots=True)
class StreamAdopted:
    """A stream whose origin was restarted goes on, for whoever reads it, as the stream ``key`` of the new life."""

    old_key: StreamKey
    key: StreamKey


@dataclasses.dataclass(slots=True)
class StreamAdmitted:
    """Memory for the stream that was accepted is reserved; data follows."""

    key: StreamKey


@dataclasses.dataclass(slots=True)
class DataReceived:
    """The next bytes of a stream, in order, each byte once.

    ``report_bytes``: when so much was taken that ``consume`` was not told of, it is to be told at once; of less it may
    be told with whatever calls the core next.
    """

    key: StreamKey
    payload: Payload
    report_bytes: int


@dataclasses.dataclass(slots=True)
class DataEnded:
    """Every byte of the stream was given out by DataReceived. ``digest``: what the sender says of them."""

    key: StreamKey
    size_bytes: int
    digest: Digest | None


@dataclasses.dataclass(slots=True)
class ReceiveFinished:
    """The stream is complete: read to the end and released. The sender is being told."""

    key: StreamKey
    size_bytes: int


@dataclasses.dataclass(slots=True)
class ReceiveFailed:
    """The stream will bring nothing more. ``discard``: what was not yet read is not to be read (a cancel)."""

    key: StreamKey
    error: CellError
    discard: bool


@dataclasses.dataclass(slots=True)
class RequestEnded:
    """A request got no reply: it failed, or its time is over."""

    stream_id: int
    error: CellError


@dataclasses.dataclass(slots=True)
class FrameRefused:
    """A neighbour sent a frame that it may not send: in the name of a cell that is not behind it, if ``about`` is None.

    Said once for each link. ``early``: it may speak for that cell, and the news of that was overtaken. Said each time.
    ``about``: ``source`` is behind it, and has nothing to say of that stream.
    """

    fqcn: str
    source: str
    early: bool
    about: StreamKey | None = None


@dataclasses.dataclass(slots=True)
class AccessRefused:
    """Somebody may not have what it wants, by what it has proved or by the policy, and was told so.

    ``fqcn``: the neighbour, or what it calls itself; ``address``: where it is.
    """

    fqcn: str
    address: str
    sentence: str


@dataclasses.dataclass(slots=True)
class QuestionsDropped:
    """Those behind a neighbour ask more than is answered, ``asker`` among them. Said once for each link."""

    fqcn: str
    asker: str


@dataclasses.dataclass(slots=True)
class HandshakeWork:
    """Make a part of a handshake, and bring it with ``sealing.on_stepped``; in a thread, since it takes a millisecond.

    ``data``: what the other side has sent; empty: begin as the initiator. ``begins``: this cell is the initiator, and
    ``lives`` has the other one's as 0 until it was heard of.
    """

    lives: Lives
    data: bytes
    begins: bool


@dataclasses.dataclass(slots=True)
class HandshakeOver:
    """Forget what was kept for a handshake. A part that is being made counts no more."""

    lives: Lives


@dataclasses.dataclass(slots=True)
class SessionBegun:
    """There are keys that this cell shares with a life of another one. ``proven``: the name that it has proved."""

    lives: Lives
    proven: str


@dataclasses.dataclass(slots=True)
class SessionFailed:
    """There is no session with a cell. ``begins``: this cell wanted it."""

    fqcn: str
    error: CellError
    begins: bool


@dataclasses.dataclass(slots=True)
class LifeDoubted:
    """Something came of a life of ``source`` that is not the one that is known here. Said once for each.

    It is asked which of them is there. ``fqcn``: the neighbour that it came from.
    """

    fqcn: str
    source: str
    incarnation: int


@dataclasses.dataclass(slots=True)
class CellsListed:
    """The cells that were asked for."""

    query_id: int
    cells: KnownCells


@dataclasses.dataclass(slots=True)
class RouteTraced:
    """Every hop on the way to a cell has answered, the cell itself last."""

    query_id: int
    hops: tuple[Hop, ...]


@dataclasses.dataclass(slots=True)
class QueryFailed:
    """A question about the network was not answered."""

    query_id: int
    error: CellError


Event: TypeAlias = (
    LaneWanted
    | LaneDropped
    | CellConnected
    | CellDisconnected
    | UplinkRefused
    | UplinkEnded
    | ProtocolBroken
    | SourceWanted
    | SourceSeekWanted
    | SendProgressed
    | SendPlaced
    | SendFinished
    | SendFailed
    | StreamOpened
    | PassageAsked
    | StreamPlaced
    | StreamAdopted
    | StreamAdmitted
    | DataReceived
    | DataEnded
    | ReceiveFinished
    | ReceiveFailed
    | RequestEnded
    | FrameRefused
    | AccessRefused
    | QuestionsDropped
    | HandshakeWork
    | HandshakeOver
    | SessionBegun
    | SessionFailed
    | LifeDoubted
    | CellsListed
    | RouteTraced
    | QueryFailed
)
