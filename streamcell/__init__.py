"""Reliable byte streams and blobs between named cells over gRPC.

Importing this starts nothing, and does not import gRPC; that happens when the first cell starts.
"""

from importlib.metadata import version as _version

from streamcell.config import CellConfig
from streamcell.core_cell import CoreCell
from streamcell.errors import (
    AuthenticationError,
    BlobSizeError,
    CellError,
    ErrorCode,
    Fault,
    LinkError,
    NameInUse,
    ProtocolError,
    RequestFailed,
    RequestTimeout,
    StreamCancelled,
    StreamError,
    StreamIntegrityError,
    StreamOutcomeUnknown,
    StreamRejected,
    StreamResumeError,
    StreamTargetUnreachable,
    StreamTimeout,
    StreamUsageError,
    UsageError,
)
from streamcell.future import StreamFuture
from streamcell.message import HeaderValue, Message
from streamcell.stream import BytesStream, FileStream, IterStream, ReceivedStream, Stream
from streamcell.stream_cell import StreamCell
from streamcell.topology import Hop, KnownCell

__all__ = [
    "AuthenticationError",
    "BlobSizeError",
    "BytesStream",
    "CellConfig",
    "CellError",
    "CoreCell",
    "ErrorCode",
    "Fault",
    "FileStream",
    "HeaderValue",
    "Hop",
    "IterStream",
    "KnownCell",
    "LinkError",
    "Message",
    "NameInUse",
    "ProtocolError",
    "ReceivedStream",
    "RequestFailed",
    "RequestTimeout",
    "Stream",
    "StreamCancelled",
    "StreamCell",
    "StreamError",
    "StreamFuture",
    "StreamIntegrityError",
    "StreamOutcomeUnknown",
    "StreamRejected",
    "StreamResumeError",
    "StreamTargetUnreachable",
    "StreamTimeout",
    "StreamUsageError",
    "UsageError",
    "__version__",
]

__version__ = _version("streamcell")
