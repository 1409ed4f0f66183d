"""What standalone cells say to each other: channels, topics and headers.

Any cell in any language may use them; they are written down in docs/files.md.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from streamcell.errors import StreamRejected
from streamcell.message import HeaderValue

# Channels of their own, because metrics are by channel.
FILE_CHANNEL = "streamcell.files"
MEASURE_CHANNEL = "streamcell.measure"
# A stream that becomes a file in the target's inbox.
FILE_TOPIC = "file"
# A stream without a byte that becomes a folder there: one without files, whose name would be lost.
FOLDER_TOPIC = "folder"
# A request that is answered with its own payload.
ECHO_TOPIC = "echo"
# A stream that is read and dropped.
SINK_TOPIC = "sink"

NAME_HEADER = "name"
MTIME_HEADER = "mtime_ns"
MODE_HEADER = "mode"

# The permissions that travel: reading, writing and executing. Never set-user-id and the like.
PERMISSIONS = 0o777


@dataclasses.dataclass(frozen=True, slots=True)
class FileHeaders:
    """What is said of a file beside its bytes; its size is the stream's.

    Attributes:
        name: a relative path with ``/`` between its parts; bytes if it is not UTF-8.
        mtime_ns: when it was last changed, in nanoseconds since 1970; None if that is not known.
        mode: its permissions; None if they are not known.
    """

    name: str | bytes
    mtime_ns: int | None = None
    mode: int | None = None

    def to_headers(self) -> dict[str, HeaderValue]:
        """Return the headers of a stream."""
        headers: dict[str, HeaderValue] = {NAME_HEADER: self.name}
        if self.mtime_ns is not None:
            headers[MTIME_HEADER] = self.mtime_ns
        if self.mode is not None:
            headers[MODE_HEADER] = self.mode & PERMISSIONS
        return headers

    @staticmethod
    def from_headers(headers: Mapping[str, HeaderValue]) -> FileHeaders:
        """Return what a stream's headers say.

        Raises:
            StreamRejected: there is no name, or a header has another type than it should.
        """
        name = headers.get(NAME_HEADER)
        if not isinstance(name, str | bytes):
            raise StreamRejected(f"the file has no name: send it with a header {NAME_HEADER!r}, a string")
        mtime_ns = _whole_number(headers, MTIME_HEADER)
        mode = _whole_number(headers, MODE_HEADER)
        return FileHeaders(name, mtime_ns, None if mode is None else mode & PERMISSIONS)


def _whole_number(headers: Mapping[str, HeaderValue], key: str) -> int | None:
    value = headers.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise StreamRejected(f"the file's header {key!r} is not a whole number: leave it out or send an int")
    return value
