"""What the status means with which a call of gRPC has ended.

A status is no proof of anything: load balancers, proxies and web servers on the way make them up, or gRPC makes one of
their HTTP status. So none says that a cell will never be there; some say that who answers now would answer so again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from streamcell.errors import AuthenticationError, CellError, ErrorCode, LinkError, one_line
from streamcell.transport.base import LaneClosed
from streamcell.transport.grpc.environment import grpc

# In the metadata behind a status that refuses a call for now: for how long, in milliseconds.
RETRY_AFTER_KEY = "streamcell-retry-after-ms"
# The statuses that a listener refuses a call with because it has too much to do.
_BUSY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
_MILLISECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)

_Refusal = tuple[type[CellError], ErrorCode, str]

# Calls that end with one of these would end so again.
_REFUSALS: dict[grpc.StatusCode, _Refusal] = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: (LinkError, ErrorCode.LIMIT, "a limit was exceeded"),
    grpc.StatusCode.UNIMPLEMENTED: (LinkError, ErrorCode.PROTOCOL, "this is not a cell"),
    grpc.StatusCode.UNAUTHENTICATED: (
        AuthenticationError,
        ErrorCode.AUTHENTICATION,
        "it does not know who this is",
    ),
    grpc.StatusCode.PERMISSION_DENIED: (
        AuthenticationError,
        ErrorCode.AUTHENTICATION,
        "it does not allow this",
    ),
}
# What gRPC makes of these: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md. But a server that
# speaks HTTP/1 only is UNAVAILABLE to it, whatever it says.
_OF_HTTP = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
}
_HTTP_STATUS = re.compile(r"(?:http2 header with|HTTP) status:? (\d{3})", re.ASCII | re.IGNORECASE)


def lane_closed(
    where: str,
    code: grpc.StatusCode,
    details: str | None,
    metadata: Iterable[tuple[str, str | bytes]] | None = None,
) -> LaneClosed:
    """Return the end of a lane whose call has ended with this status. ``where`` it led.

    :param metadata: what came behind the status.
    """
    if code is grpc.StatusCode.OK:
        return LaneClosed(f"{where} ended the lane")
    reason = one_line(details or code.name)
    http = _HTTP_STATUS.search(reason)
    if http is not None:
        code = _OF_HTTP.get(int(http[1]), code)
        reason = f"HTTP status {http[1]}, from a web server, a proxy or a load balancer"
    elif code is not grpc.StatusCode.UNAVAILABLE:
        reason = f"{reason} ({code.name})"
    retry_after_s = _retry_after_s(metadata) if code in _BUSY else 0.0
    if code not in _REFUSALS:
        return LaneClosed(f"{where}: {reason}", None, retry_after_s)
    error_class, error_code, meaning = _REFUSALS[code]
    sentence = f"{where} refused the lane, {meaning}: {reason}"
    return LaneClosed(sentence, error_class(sentence, error_code), retry_after_s)


def _retry_after_s(metadata: Iterable[tuple[str, str | bytes]] | None) -> float:
    """Return for how long whoever answers asks not to be called again; 0 if it does not say, or says nonsense."""
    said = dict(metadata or ()).get(RETRY_AFTER_KEY, "")
    return int(said) / 1000 if isinstance(said, str) and _MILLISECONDS.fullmatch(said) else 0.0
