#!/usr/bin/env python3
"""Writes the pages beside docs/wire.md that code decides; with --check, tells whether they are current.

docs/wire-examples.md has the golden examples: frames, what protobuf shows of them, and their bytes. docs/wire-tables.md
has the limits with their reasons, the error codes and the state tables.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import enum
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format

from streamcell import limits
from streamcell.digest import Digest
from streamcell.errors import ErrorCode, Fault, error_from_wire
from streamcell.protocol.links.states import LANE_TABLE
from streamcell.protocol.receiving.states import RECEIVER_TABLE, STARTING_POINT_TABLE
from streamcell.protocol.relaying.states import RELAY_TABLE
from streamcell.protocol.sealing.states import HANDSHAKE_TABLE
from streamcell.protocol.sending.states import SENDER_TABLE
from streamcell.protocol.tree.states import ANNOUNCEMENT_TABLE
from streamcell.protocol.wire import frames
from streamcell.protocol.wire.description import ReplyTo, StreamDescription, StreamKind
from streamcell.protocol.wire.integrity import checksum_fields
from streamcell.transport.checksum import checksum
from streamcell.transport.codec import encode_batch
from streamcell.transport.parts import join
from streamcell.v1 import cell_pb2

StateT = TypeVar("StateT", bound=enum.Enum)
InputT = TypeVar("InputT", bound=enum.Enum)
ActionT = TypeVar("ActionT", bound=enum.Enum)

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES_PAGE = ROOT / "docs/wire-examples.md"
TABLES_PAGE = ROOT / "docs/wire-tables.md"
PROTO = ROOT / "protos/streamcell/v1/cell.proto"
LIMITS = ROOT / "streamcell/limits.py"

# What limits.py defines beside limits.
UNITS = {"KIB", "MIB", "GIB", "PROTOCOL_VERSION"}

SITE = (1_700_000_000_000 << 20) | 0x12345
SERVER = (1_700_000_001_000 << 20) | 0x54321
CLAIM = 0x0123456789ABCDEF
LINK_ID = bytes(range(16))
SESSION = bytes(range(16, 32))
# The example of W3C Trace Context.
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclasses.dataclass(frozen=True)
class Example:
    """One batch: what it says, its frames, and who sends it."""

    title: str
    explanation: str
    batch: tuple[frames.Frame, ...]


def key(stream_id: int) -> frames.StreamKey:
    return frames.StreamKey("site-1", SITE, stream_id)


def chunk(
    stream: frames.StreamKey,
    payload: bytes,
    *,
    attempt: int = 1,
    sequence: int = 0,
    offset: int = 0,
    last: bool,
    opening: frames.Open | None = None,
    channel: str = "train",
    topic: str = "model",
) -> frames.Chunk:
    fields = checksum_fields(stream, attempt, sequence, offset, last=last)
    return frames.Chunk(
        stream,
        "server",
        attempt,
        channel,
        topic,
        sequence,
        offset,
        last,
        limits.HOPS,
        checksum(fields, checksum(payload, 0)),
        payload,
        opening,
    )


def hello(fqcn: str, incarnation: int, link_id: bytes, lanes_held: tuple[int, ...]) -> frames.Hello:
    return frames.Hello(
        fqcn,
        incarnation,
        limits.PROTOCOL_VERSION,
        limits.PROTOCOL_VERSION,
        1,
        frames.LaneRole.CONTROL,
        link_id,
        lanes_held,
        ("routes",),
        limits.MESSAGE_BYTES,
        2,
        limits.INITIAL_CREDIT_BYTES,
        software="streamcell 0.1.0",
    )


def examples() -> list[Example]:
    """Returns every golden example, in the order of the document."""
    headers = (("final", True), ("loss", 0.25), ("round", 7), ("site", "one"), ("token", b"\x01\x02"))
    blob = frames.Open(StreamDescription(StreamKind.BLOB, 5, headers, 300.0), 1, target_incarnation=SERVER)
    stream = frames.Open(StreamDescription(StreamKind.STREAM, idle_timeout_s=300.0), 1, ((3, 4), (6, 6)))
    traced = dataclasses.replace(blob, description=StreamDescription(StreamKind.BLOB, 2, traceparent=TRACEPARENT))
    offer = dataclasses.replace(stream, seen_before=True, awaits_offset=True)
    first_digest = Digest.of([b"first "])
    request = frames.Open(StreamDescription(StreamKind.REQUEST, 4, (), 300.0), 3)
    reply = frames.Open(StreamDescription(StreamKind.REPLY, 4, (), 300.0, reply_to=ReplyTo(3, SITE)), 1)
    reply_key = frames.StreamKey("server", SERVER, 1)
    reply_chunk = dataclasses.replace(
        chunk(reply_key, b"pong", last=True, opening=reply, channel="ctl", topic="ping"), target="site-1"
    )
    sentence = "server has no callback for train/model: register one there before sending"
    me = frames.CellInfo("server", SERVER, software="streamcell 0.1.0")
    return [
        Example(
            "The dialler's Hello",
            "Dialler → listener, the first frame of the first lane. No link id: a new link is asked for.",
            (hello("site-1", SITE, b"", (1,)),),
        ),
        Example(
            "The listener's Hello",
            "Listener → dialler, in answer. It carries the link id that further lanes must name.",
            (hello("server", SERVER, LINK_ID, ()),),
        ),
        Example(
            "A blob in one frame",
            "Origin → target. The only chunk is first (it has the Open part) and last. A header of each type.",
            (chunk(key(1), b"hello", last=True, opening=blob),),
        ),
        Example(
            "A stream of unknown size in two chunks",
            "Origin → target, in one batch. The Open part is in the first only; runs of settled ids are 3 to 4, and 6.",
            (
                chunk(key(2), b"first ", last=False, opening=stream),
                chunk(key(2), b"second", sequence=1, offset=6, last=True),
            ),
        ),
        Example(
            "A blob that belongs to a trace",
            "Origin → target. No cell on the way looks into the `traceparent`.",
            (chunk(key(4), b"hi", last=True, opening=traced),),
        ),
        Example(
            "Credit and Ack",
            "Target → origin: go on up to offset 1,048,576; 12 bytes have arrived, 6 were taken by the reader.",
            (frames.Credit(key(2), "server", 1, limits.MIB), frames.Ack(key(2), "server", 1, SERVER, 12, 6, False, 16)),
        ),
        Example(
            "The final Ack",
            "Target → origin: delivered whole.",
            (frames.Ack(key(2), "server", 1, SERVER, 12, 12, True, 16),),
        ),
        Example(
            "A request",
            "Origin → target: a stream of kind REQUEST.",
            (chunk(key(3), b"ping", last=True, opening=request, channel="ctl", topic="ping"),),
        ),
        Example(
            "Its reply",
            "The other way round: `server` is now the origin; `reply_to` is the stream id of the request.",
            (reply_chunk,),
        ),
        Example(
            "A stream is refused",
            "Target → origin.",
            (frames.Reset(key(1), "server", 1, True, ErrorCode.NO_CALLBACK, Fault.TARGET, sentence, 16),),
        ),
        Example(
            "A chunk was corrupt",
            "Target → origin: not fatal.",
            (frames.Lost(key(2), "server", 1, frames.LostReason.CORRUPT, "server", 16),),
        ),
        Example(
            "Where to go on",
            "Origin → target, with the number of the attempt that is to begin.",
            (frames.ResumeQuery(key(2), "server", 2, False, 16),),
        ),
        Example(
            "Go on here",
            "Target → origin.",
            (frames.ResumeReply(key(2), "server", 2, SERVER, False, 6, 16),),
        ),
        Example(
            "The second attempt",
            "Origin → target: sequence numbers start anew, and the Open part is there again.",
            (chunk(key(2), b"second", attempt=2, offset=6, last=True, opening=stream),),
        ),
        Example(
            "Offered to another life of the target",
            "Origin → target: it was restarted. No payload; the origin waits.",
            (chunk(key(2), b"", attempt=3, last=False, opening=offer),),
        ),
        Example(
            "Its application has the first six bytes",
            "Target → origin, repeated until the origin goes on, with the digest of these bytes. The origin does so in "
            "attempt 4, as it did in the second.",
            (frames.ResumeReply(key(2), "server", 3, SERVER, False, 6, 16, first_digest),),
        ),
        Example("More lanes, please", "Listener → dialler.", (frames.LanesWanted(1),)),
        Example("A Ping", "Either side.", (frames.Ping(0x0123456789ABCDEF, 3),)),
        Example("Its Pong", "The other side.", (frames.Pong(0x0123456789ABCDEF),)),
        Example(
            "What is settled",
            "Origin → target, after each 256 streams to it that have ended: all below 260 except stream 3.",
            (frames.ResumeQuery.telling_settled("site-1", SITE, "server", 3, ((4, 259),)),),
        ),
        Example("Who is there?", "Either side, to its neighbour.", (frames.Query(9, "site-1", "", False, 16),)),
        Example("I am", "The neighbour.", (frames.QueryReply(9, "site-1", "server", (me,), 16),)),
        Example(
            "Is the name still yours?",
            "Over the way to the holder of a name, which the Hello with that `claim_id` claims.",
            (frames.Query.about_claim(10, "site-1", "server", CLAIM),),
        ),
        Example(
            "It is",
            "The holder, over the same way: the Hello is none of its own.",
            (frames.QueryReply(10, "site-1", "server", (me,), 16, holder=frames.HolderAnswer.HERE, claim_id=CLAIM),),
        ),
        Example(
            "It is not here any more",
            "A cell on the way to the holder.",
            (frames.QueryReply(10, "site-1", "relay", (), 16, holder=frames.HolderAnswer.GONE, claim_id=CLAIM),),
        ),
        Example(
            "A handshake begins",
            "Initiator → responder, whichever life of it is there. What TLS gave is shortened here.",
            (frames.Handshake("site-1", SITE, "server", 0, False, SESSION, 0, b"ClientHello", 16),),
        ),
        Example(
            "It goes on",
            "Responder → initiator. So do the parts 2 and 3, of which the last one is the responder's conclusion.",
            (frames.Handshake("site-1", SITE, "server", SERVER, True, SESSION, 1, b"ServerHello", 16),),
        ),
        Example(
            "A cell stops",
            "Either side, as the last frame of the link's control lane.",
            (frames.Goodbye(ErrorCode.STOPPING, "server is stopping"),),
        ),
        Example(
            "A peer is linked already",
            "The cell that was dialled, in place of its Hello.",
            (frames.Goodbye(ErrorCode.UNSPECIFIED, "server has a link to you already", "server"),),
        ),
        Example(
            "A cell announces itself",
            "Child → parent, right after the Hellos.",
            (frames.Announce("site-1", SITE, 1, ("site-1",), "streamcell 0.1.0"),),
        ),
        Example(
            "A relay announces it further up",
            "Relay → its parent. The path has got one name longer, and the address is what the relay sees.",
            (frames.Announce("site-1", SITE, 1, ("site-1", "relay"), "streamcell 0.1.0", "ipv4:192.0.2.7:51234"),),
        ),
        Example(
            "The name is accepted",
            "Parent → child. With a code it would be refused.",
            (frames.AnnounceReply("site-1", SITE, 1),),
        ),
        Example("A cell is gone", "Child → parent.", (frames.Withdraw("site-1", SITE, 1),)),
        Example(
            "Which is taken note of", "Parent → child.", (frames.AnnounceReply("site-1", SITE, 1, withdrawn=True),)
        ),
        Example(
            "There is no room for it now",
            "Parent → child: it is no refusal, and may be announced again.",
            (frames.AnnounceReply("site-1", SITE, 1, ErrorCode.LIMIT, "server has no room for more cells", wait=True),),
        ),
        Example(
            "There is no way to it",
            "Relay → origin: the target is not known, or its way is gone.",
            (frames.Lost(key(2), "server", 1, frames.LostReason.NO_ROUTE, "relay", limits.HOPS),),
        ),
    ]


# --- examples ------------------------------------------------------------------------------------


def show(example: Example) -> str:
    data = join(encode_batch(example.batch))
    message = cell_pb2.ExchangeRequest.FromString(data)
    text = text_format.MessageToString(message, as_utf8=True).rstrip()
    hexadecimal = "\n".join(textwrap.wrap(data.hex(), 96))
    return f"## {example.title}\n\n{example.explanation}\n\n```text\n{text}\n```\n\n```hex\n{hexadecimal}\n```"


# --- tables --------------------------------------------------------------------------------------


def limits_table() -> str:
    """Lists every limit with the comment above it."""
    rows = []
    comment: list[str] = []
    for line in LIMITS.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            comment.append(line[2:])
            continue
        constant = re.match(r"([A-Z_]+) = ", line)
        if constant and constant[1] not in UNITS:
            rows.append((f"`{constant[1]}`", number(getattr(limits, constant[1])), " ".join(comment) or "as above"))
        comment = []
    return table(("limit", "value", "what and why"), rows)


def number(value: int) -> str:
    """Writes sizes as people do; numbers below 64 KiB are counts."""
    for unit, size in (("MiB", limits.MIB), ("KiB", limits.KIB)):
        if value >= 64 * limits.KIB and value % size == 0:
            return f"{value // size} {unit}"
    return f"{value:,}"


def errors_table() -> str:
    """Lists the error codes as the .proto explains them, and the exception that a stream's code becomes."""
    body = PROTO.read_text(encoding="utf-8").split("enum ErrorCode {")[1].split("}")[0]
    meanings = re.findall(r"// (.*)\n +ERROR_CODE_([A-Z_]+) = (\d+);", body)
    rows = []
    for meaning, name, value in meanings:
        code = ErrorCode(int(value))
        exception = f"`{type(error_from_wire(code, '')).__name__}`" if code else "none"
        rows.append((value, f"`{name}`", meaning, exception))
    return table(("number", "code", "meaning", "as a stream's failure in Python"), rows)


@dataclasses.dataclass(frozen=True)
class StateTable:
    """The pairs of a state table that do something, and what its actions mean."""

    title: str
    rows: tuple[tuple[str, ...], ...]
    explanation: str = ""

    def text(self) -> str:
        shown = f"### {self.title}\n\n{table(('state', 'input', 'action', 'next state'), self.rows)}"
        return f"{shown}\n\n{self.explanation}" if self.explanation else shown


def pairs(transitions: Mapping[tuple[StateT, InputT], tuple[ActionT, StateT]]) -> tuple[tuple[str, ...], ...]:
    """Returns the rows of a state table that do something."""
    return tuple(
        (f"`{state.name}`", f"`{event.name}`", f"`{action.name}`", f"`{following.name}`")
        for (state, event), (action, following) in transitions.items()
        if action.name != "IGNORE" or following is not state
    )


STATE_TABLES = (
    StateTable(
        "Sender (the origin's half of a stream)",
        pairs(SENDER_TABLE),
        "`CONTINUE` begins to send chunks, `QUERY` raises the attempt and asks, `WAIT` starts the\n"
        "back-off, `OFFER` sends the chunk that awaits an offset, `MOVE_SOURCE` has the source go to the offset.",
    ),
    StateTable(
        "Receiver (the target's half)",
        pairs(RECEIVER_TABLE),
        "`ADMIT` takes the stream piece by piece, `ASSEMBLE` whole, `RESERVE` whole when there is memory for it.\n"
        "`DELIVER` hands over what arrived before, `CONFIRM` sends the final Ack. Chunks are taken in in every state\n"
        "before `ENDED`, within the credit that was given.",
    ),
    StateTable(
        "Starting point (where a received stream begins, at the target)",
        pairs(STARTING_POINT_TABLE),
        "`TELL` sends the ResumeReply, again and again until the origin goes on. A stream whose origin does not wait\n"
        "starts in `PLACED`.",
    ),
    StateTable("Relay (a stream that passes through)", pairs(RELAY_TABLE)),
    StateTable("Announcement (a name, at the cell that announces it)", pairs(ANNOUNCEMENT_TABLE)),
    StateTable("Lane", pairs(LANE_TABLE)),
    StateTable("Handshake (for a session, at either side)", pairs(HANDSHAKE_TABLE)),
)


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines).replace("| --- ", "|---").replace("--- |", "---|")


# --- pages ---------------------------------------------------------------------------------------

EXAMPLES_HEAD = """\
# The wire: examples

<!-- written by scripts/golden.py -->

One batch each: what protobuf shows of it, and its bytes. The rules behind them are in [the wire](wire.md). The origin
is `site-1`, the target `server`. [`protos/vectors`](../protos/vectors/README.md) has the same for programs to read,
with many edge cases and with batches that are to be refused.
"""

TABLES_HEAD = """\
# The wire: tables

<!-- written by scripts/golden.py -->

What [the wire](wire.md) says in words, as the code has it: [limits](#limits), [error codes](#error-codes) and
[state tables](#state-tables).
"""

LIMITS_HEAD = "## Limits\n\nNo other cell can raise any of these."

ERRORS_HEAD = "## Error codes"

STATES_HEAD = """\
## State tables

The pairs that do something. Every other pair of state and input is ignored, because frames cross on the way."""


def examples_page() -> str:
    """Returns docs/wire-examples.md."""
    return "\n".join((EXAMPLES_HEAD, "\n\n".join(show(example) for example in examples()), ""))


def tables_page() -> str:
    """Returns docs/wire-tables.md."""
    shown = (LIMITS_HEAD, limits_table(), ERRORS_HEAD, errors_table(), STATES_HEAD)
    return "\n".join((TABLES_HEAD, "\n\n".join((*shown, *(each.text() for each in STATE_TABLES))), ""))


PAGES: dict[Path, Callable[[], str]] = {EXAMPLES_PAGE: examples_page, TABLES_PAGE: tables_page}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare only, and fail if different")
    arguments = parser.parse_args()
    differences: list[str] = []
    for path, page in PAGES.items():
        if not arguments.check:
            path.write_text(page(), encoding="utf-8")
            continue
        present, fresh = (text.splitlines(keepends=True) for text in (path.read_text(encoding="utf-8"), page()))
        differences += difflib.unified_diff(present, fresh, path.name, f"{path.name} as the code has it")
    sys.stdout.writelines(differences)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
