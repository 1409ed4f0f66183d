"""What a Hello says, what is wrong with one, and what it means to be refused."""

from __future__ import annotations

import dataclasses

from streamcell.errors import AuthenticationError, CellError, ErrorCode, LinkError, NameInUse, ProtocolError
from streamcell.limits import INITIAL_CREDIT_BYTES, MESSAGE_BYTES, PROTOCOL_VERSION
from streamcell.protocol.base.context import Context
from streamcell.protocol.wire.frames import Hello, LaneRole

# What a cell can do that not every cell has to: tell by itself which cells are there, and hear of it.
ROUTES_CAPABILITY = "routes"


@dataclasses.dataclass(frozen=True, slots=True)
class Terms:
    """What a neighbour takes, as it has said in its last Hello.

    :ivar initial_credit: bytes of a stream that it takes before it has given credit.
    :ivar message_bytes: the largest message that it takes.
    :ivar lanes: how many lanes a link to it has at most.
    :ivar max_idle_timeout_s: how long it waits for the origin of a stream, at most; 0: it has not said so.
    :ivar announces: it tells by itself who is there, and hears of it.
    """

    initial_credit: int = INITIAL_CREDIT_BYTES
    message_bytes: int = MESSAGE_BYTES
    lanes: int = 1
    announces: bool = False
    software: str = ""
    max_idle_timeout_s: float = 0.0

    @classmethod
    def of(cls, hello: Hello) -> Terms:
        """Return what a Hello says. More initial credit than this cell may use is of no use to it."""
        return cls(
            min(hello.initial_credit, INITIAL_CREDIT_BYTES),
            hello.message_bytes,
            hello.lanes,
            ROUTES_CAPABILITY in hello.capabilities,
            hello.software,
            hello.max_idle_timeout_s,
        )


def make_hello(
    context: Context,
    number: int,
    role: LaneRole,
    link_id: bytes,
    *,
    lanes_held: tuple[int, ...] = (),
    lanes_replaced: tuple[int, ...] = (),
    shortcut: bool = False,
    claim_id: int = 0,
) -> Hello:
    """Return what this cell says first on a lane. The last four are for a dialler to say."""
    return Hello(
        context.fqcn,
        context.incarnation,
        PROTOCOL_VERSION,
        PROTOCOL_VERSION,
        number,
        role,
        link_id,
        lanes_held,
        (ROUTES_CAPABILITY,),
        MESSAGE_BYTES,
        1 + context.config.bulk_lanes,
        INITIAL_CREDIT_BYTES,
        shortcut,
        context.software,
        lanes_replaced,
        claim_id,
        context.config.max_peer_idle_timeout_s,
    )


def fault_in(hello: Hello, me: str) -> tuple[ErrorCode, str] | None:
    """Return why the cell ``me`` cannot have a link with whoever says this Hello; None: it can."""
    if hello.version_min > PROTOCOL_VERSION or hello.version_max < PROTOCOL_VERSION:
        return ErrorCode.VERSION, (
            f"{me} speaks protocol version {PROTOCOL_VERSION}, {hello.fqcn} speaks {hello.version_min} to "
            f"{hello.version_max}: update the older one"
        )
    if hello.fqcn == me:
        return ErrorCode.NAME_IN_USE, f"the name {me} is held by the cell that was dialled"
    if hello.message_bytes < MESSAGE_BYTES:
        return ErrorCode.PROTOCOL, (
            f"{hello.fqcn} takes messages of {hello.message_bytes} bytes, less than the {MESSAGE_BYTES} that the "
            "protocol asks for"
        )
    return None


def refusal_of(code: ErrorCode, sentence: str) -> CellError:
    """Return the error that an end that is refused in these words raises."""
    if code is ErrorCode.NAME_IN_USE:
        return NameInUse(sentence)
    if code is ErrorCode.AUTHENTICATION:
        return AuthenticationError(sentence)
    if code in (ErrorCode.PROTOCOL, ErrorCode.VERSION):
        return ProtocolError(sentence, code)
    return LinkError(sentence, code)
