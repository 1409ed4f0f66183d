"""The public names: what may be imported, with which arguments in which order. Written out here, not derived."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import pytest

import streamcell
from streamcell import aio

NAMES = {
    "AuthenticationError", "BlobSizeError", "BytesStream", "CellConfig", "CellError", "CoreCell", "Credentials",
    "ErrorCode", "Fault",
    "FileStream", "HeaderValue", "Hop", "IterStream", "KnownCell", "KnownCells", "LinkError", "Message", "NameInUse",
    "Opening", "Policy", "ProtocolError",
    "ReceivedStream",
    "RequestFailed", "RequestTimeout", "Stream", "StreamCancelled", "StreamCell", "StreamError", "StreamFuture",
    "StreamIntegrityError", "StreamOutcomeUnknown", "StreamRejected", "StreamResumeError", "StreamTargetUnreachable",
    "StreamTimeout", "StreamUsageError", "TLSConfig", "UsageError", "__version__", "running_cells",
    "token_from_file", "tokens_from_file",
}  # fmt: skip

# Positional arguments, then ``*`` and keyword-only ones. ``name=`` has the default that follows.
CELL = (
    "self, fqcn, *, listen=None, connect=None, tls=None, insecure=False, policy=None, authenticate=None, token=None, "
    "admit=None, admit_relayed=False, config=None, network=None"
)
SEND = "self, channel, topic, target, message, secure=False, optional=False, **more"
SEND_MORE = {
    "copy",
    "resume_id",
    "idle_timeout",
    "unreachable_timeout",
    "digest",
    "retry_unknown",
    "reliable",
    "traceparent",
}
REQUEST = (
    "self, channel, topic, target, request, timeout=None, secure=False, optional=False, *, copy=False, traceparent=None"
)
BROADCAST = (
    "self, channel, topic, targets, request, timeout=None, secure=False, optional=False, *, copy=False, "
    "traceparent=None"
)
FIRE = "self, channel, topic, targets, message, secure=False, optional=False, *, copy=False, traceparent=None"

SIGNATURES = {
    "CoreCell.__init__": CELL,
    "CoreCell.start": "self",
    "CoreCell.stop": "self, grace=None",
    "CoreCell.wait_connected": "self, timeout=None",
    "CoreCell.is_cell_connected": "self, name",
    "CoreCell.is_cell_reachable": "self, name",
    "CoreCell.connect": "self, url",
    "CoreCell.disconnect": "self, url",
    "CoreCell.cells": "self, timeout=5.0, *, prefix='', limit=0, after=''",
    "CoreCell.reload_security": "self",
    "CoreCell.trace": "self, target, timeout=5.0",
    "CoreCell.stats": "self",
    "CoreCell.register_request_cb": "self, channel, topic, cb, *args, **kwargs",
    "CoreCell.send_request": REQUEST,
    "CoreCell.broadcast_request": BROADCAST,
    "CoreCell.fire_and_forget": FIRE,
    "CoreCell.set_cell_connected_cb": "self, cb, *args, **kwargs",
    "CoreCell.set_cell_disconnected_cb": "self, cb, *args, **kwargs",
    "StreamCell.__init__": "self, cell",
    "StreamCell.get_chunk_size": "self",
    "StreamCell.send_stream": SEND,
    "StreamCell.send_blob": SEND,
    "StreamCell.register_stream_cb": "self, channel, topic, stream_cb, *args, **kwargs",
    "StreamCell.register_blob_cb": "self, channel, topic, blob_cb, *args, into=None, **kwargs",
    "StreamCell.unregister_stream_cb": "self, channel, topic",
    "StreamCell.unregister_blob_cb": "self, channel, topic",
    "Message.__init__": "self, headers=None, payload=None",
    "Message.get_header": "self, key, default=None",
    "Message.set_header": "self, key, value",
    "Message.add_headers": "self, headers",
    "Message.remove_header": "self, key",
    "Stream.__init__": "self, size=0, headers=None",
    "Stream.read": "self, size",
    "Stream.get_size": "self",
    "Stream.get_pos": "self",
    "Stream.get_headers": "self",
    "Stream.seek": "self, offset",
    "Stream.close": "self",
    "FileStream.__init__": "self, path, headers=None",
    "BytesStream.__init__": "self, data, headers=None",
    "IterStream.__init__": "self, iterable, size=0, headers=None",
    "StreamFuture.result": "self, timeout=None",
    "StreamFuture.exception": "self, timeout=None",
    "StreamFuture.cancel": "self",
    "StreamFuture.cancelled": "self",
    "StreamFuture.running": "self",
    "StreamFuture.done": "self",
    "StreamFuture.get_stream_id": "self",
    "StreamFuture.get_headers": "self",
    "StreamFuture.get_size": "self",
    "StreamFuture.get_progress": "self",
    "StreamFuture.add_done_callback": "self, fn, *args, **kwargs",
    "ReceivedStream.read": "self, size=-1",
    "ReceivedStream.readinto": "self, buffer",
    "ReceivedStream.pieces": "self",
    "ReceivedStream.resume_from": "self, offset, have=None",
    "ReceivedStream.close": "self",
}

PROPERTIES = {
    "CoreCell": {"fqcn", "listen_urls"},
    "StreamFuture": {"origin", "target", "channel", "topic", "traceparent", "rate", "eta"},
    "ReceivedStream": {"headers", "origin", "channel", "topic", "resume_id", "traceparent"},
}

# Of ``streamcell.aio``: the names that are coroutines, and those that return at once. The arguments are the same.
COROUTINES = {
    "CoreCell": {
        "start", "stop", "wait_connected", "is_cell_connected", "is_cell_reachable", "stats", "disconnect",
        "cells", "trace", "reload_security", "send_request",
        "broadcast_request", "fire_and_forget",
    },
    "StreamCell": {"send_stream", "send_blob"},
    "ReceivedStream": {"read"},
}  # fmt: skip
PLAIN = {
    "CoreCell": {"__init__", "connect", "register_request_cb", "set_cell_connected_cb", "set_cell_disconnected_cb"},
    "StreamCell": {
        "__init__", "get_chunk_size", "register_stream_cb", "register_blob_cb", "unregister_stream_cb",
        "unregister_blob_cb",
    },
    "StreamFuture": {
        "cancel", "cancelled", "running", "done", "get_stream_id", "get_headers", "get_size", "get_progress",
        "add_done_callback",
    },
}  # fmt: skip


def arguments(function: Callable[..., Any]) -> str:
    """Return the arguments of a function without types, as they are written above."""
    signature = inspect.signature(function)
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    text = str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    return text.removeprefix("(").removesuffix(")").replace(", /", "")


def test_all_names_are_exported() -> None:
    assert set(streamcell.__all__) == NAMES
    assert streamcell.__all__ == sorted(streamcell.__all__)
    for name in NAMES:
        assert getattr(streamcell, name) is not None


def test_star_import_gives_the_names() -> None:
    assert set(importlib.import_module("streamcell").__all__) <= set(dir(streamcell))


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_signature(name: str) -> None:
    owner, _, method = name.partition(".")
    assert arguments(getattr(getattr(streamcell, owner), method)) == SIGNATURES[name]


@pytest.mark.parametrize("owner", [streamcell.StreamCell, aio.StreamCell])
@pytest.mark.parametrize("method", ["send_stream", "send_blob"])
def test_what_may_be_given_by_name_when_something_is_sent(owner: type, method: str) -> None:
    (more,) = get_args(get_type_hints(getattr(owner, method))["more"])
    assert set(get_type_hints(more)) == SEND_MORE


@pytest.mark.parametrize("owner", sorted(PROPERTIES))
def test_properties(owner: str) -> None:
    for name in PROPERTIES[owner]:
        assert isinstance(inspect.getattr_static(getattr(streamcell, owner), name), property)


@pytest.mark.parametrize("owner", sorted(COROUTINES))
def test_aio_coroutines(owner: str) -> None:
    for name in COROUTINES[owner]:
        assert inspect.iscoroutinefunction(getattr(getattr(aio, owner), name)), name


@pytest.mark.parametrize("owner", sorted(PLAIN))
def test_aio_methods_that_return_at_once(owner: str) -> None:
    for name in PLAIN[owner]:
        assert not inspect.iscoroutinefunction(getattr(getattr(aio, owner), name)), name


@pytest.mark.parametrize(
    "name",
    sorted(
        f"{owner}.{method}"
        for owner, methods in [*COROUTINES.items(), *PLAIN.items()]
        for method in methods
        if f"{owner}.{method}" in SIGNATURES
    ),
)
def test_aio_takes_the_same_arguments(name: str) -> None:
    owner, _, method = name.partition(".")
    given = inspect.signature(getattr(getattr(aio, owner), method)).parameters
    wanted = inspect.signature(getattr(getattr(streamcell, owner), method)).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in given.values()):
        # ``**more`` stands for the keyword-only ones.
        wanted_names = [key for key, each in wanted.items() if each.kind is not inspect.Parameter.KEYWORD_ONLY]
        given_names = [key for key, each in given.items() if each.kind is not inspect.Parameter.KEYWORD_ONLY]
        assert [key for key in given_names if given[key].kind is not inspect.Parameter.VAR_KEYWORD] == [
            key for key in wanted_names if wanted[key].kind is not inspect.Parameter.VAR_KEYWORD
        ]
    else:
        assert list(given) == list(wanted)


def test_aio_futures_and_streams_have_the_properties() -> None:
    for owner in ("StreamFuture", "ReceivedStream"):
        for name in PROPERTIES[owner]:
            assert isinstance(inspect.getattr_static(getattr(aio, owner), name), property), name
    assert hasattr(aio.StreamFuture, "__await__")
    assert hasattr(aio.ReceivedStream, "__aiter__")


def test_every_public_name_is_described() -> None:
    for name in NAMES - {"__version__", "HeaderValue"}:
        assert inspect.getdoc(getattr(streamcell, name))


def test_config_is_a_frozen_value() -> None:
    config = streamcell.CellConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.chunk_bytes = 1  # type: ignore[misc]
    assert config == streamcell.CellConfig()


def test_version_is_that_of_the_package() -> None:
    assert streamcell.__version__.count(".") >= 2
