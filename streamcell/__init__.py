"""Reliable byte streams and blobs between named cells over gRPC.

Importing this starts nothing. It imports a name's module when the name is first used, and nothing before, so that the
command line can look after Ctrl-C before anything else; gRPC is imported when the first cell starts.
"""

from __future__ import annotations

# The name is what type checkers go by. That of typing would take most of the time that this module takes.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from streamcell.config import CellConfig
    from streamcell.core_cell import CoreCell, running_cells
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
    from streamcell.security.policy.opening import Opening
    from streamcell.security.policy.policy import Policy
    from streamcell.security.settings import TLSConfig
    from streamcell.security.tokens import Credentials, token_from_file, tokens_from_file
    from streamcell.stream import BytesStream, FileStream, IterStream, ReceivedStream, Stream
    from streamcell.stream_cell import StreamCell
    from streamcell.topology import Hop, KnownCell, KnownCells

    __version__: str

__all__ = [
    "AuthenticationError",
    "BlobSizeError",
    "BytesStream",
    "CellConfig",
    "CellError",
    "CoreCell",
    "Credentials",
    "ErrorCode",
    "Fault",
    "FileStream",
    "HeaderValue",
    "Hop",
    "IterStream",
    "KnownCell",
    "KnownCells",
    "LinkError",
    "Message",
    "NameInUse",
    "Opening",
    "Policy",
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
    "TLSConfig",
    "UsageError",
    "__version__",
    "running_cells",
    "token_from_file",
    "tokens_from_file",
]

# Where the names above are, and modules that may be named without having been imported.
_EXPORTS = {
    "config": ("CellConfig",),
    "core_cell": ("CoreCell", "running_cells"),
    "errors": (
        "AuthenticationError",
        "BlobSizeError",
        "CellError",
        "ErrorCode",
        "Fault",
        "LinkError",
        "NameInUse",
        "ProtocolError",
        "RequestFailed",
        "RequestTimeout",
        "StreamCancelled",
        "StreamError",
        "StreamIntegrityError",
        "StreamOutcomeUnknown",
        "StreamRejected",
        "StreamResumeError",
        "StreamTargetUnreachable",
        "StreamTimeout",
        "StreamUsageError",
        "UsageError",
    ),
    "future": ("StreamFuture",),
    "message": ("HeaderValue", "Message"),
    "stream": ("BytesStream", "FileStream", "IterStream", "ReceivedStream", "Stream"),
    "security.policy.opening": ("Opening",),
    "security.policy.policy": ("Policy",),
    "security.settings": ("TLSConfig",),
    "security.tokens": ("Credentials", "token_from_file", "tokens_from_file"),
    "stats": (),
    "stream_cell": ("StreamCell",),
    "topology": ("Hop", "KnownCell", "KnownCells"),
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names}

# Type checkers read the imports above, and would take any name for one of these.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used (PEP 562)."""
        from importlib import import_module

        if name in _EXPORTS:
            return import_module(f"streamcell.{name}")
        if name == "__version__":
            value = import_module("importlib.metadata").version("streamcell")
        elif name in _MODULE_OF:
            value = getattr(import_module(f"streamcell.{_MODULE_OF[name]}"), name)
        else:
            raise AttributeError(f"module 'streamcell' has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """Return the public names, those too that were not used yet."""
        return sorted({*globals(), *__all__})
