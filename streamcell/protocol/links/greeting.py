"""What a Hello says, what is wrong with one, and what it means to be refused."""

from __future__ import annotations

from streamcell.errors import AuthenticationError, CellError, ErrorCode, LinkError, NameInUse, ProtocolError
from streamcell.limits import INITIAL_CREDIT_BYTES, MESSAGE_BYTES, PROTOCOL_VERSION
from streamcell.protocol.base.context import Context
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.link import Lane
from streamcell.protocol.wire.frames import Hello

# What a cell can do that not every cell has to: tell by itself which cells are there, and hear of it.
ROUTES_CAPABILITY = "routes"


def make_hello(context: Context, lane: Lane, link_id: bytes, lanes_held: tuple[int, ...]) -> Hello:
    """Return what this cell says first on a lane."""
    return Hello(
        context.fqcn,
        context.incarnation,
        PROTOCOL_VERSION,
        PROTOCOL_VERSION,
        lane.number,
        lane.role,
        link_id,
        lanes_held,
        (ROUTES_CAPABILITY,),
        MESSAGE_BYTES,
        1 + context.config.bulk_lanes,
        INITIAL_CREDIT_BYTES,
        lane.uplink is not None and lane.uplink.kind is LinkKind.SHORTCUT,
        context.software,
        lane.replaces if lane.uplink is not None else (),
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
