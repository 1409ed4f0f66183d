"""What to do with a payload that gives out no bytes by itself: which call makes bytes of it.

Types of other packages are known by what they offer, so that nothing has to be imported.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import io
import os
from collections.abc import Callable
from typing import Any, TypeAlias

from streamcell.message import full_name

_FALL_BACK = "use bytes, bytearray, memoryview, a list of these, or anything else with the buffer protocol"
_ARROW_STREAM = (
    "write it as an Arrow IPC stream (table = pyarrow.table({}); sink = pyarrow.BufferOutputStream(); writer = "
    "pyarrow.ipc.new_stream(sink, table.schema); writer.write_table(table); writer.close()), and send sink.getvalue()"
)
# How numpy calls kinds of items, and what makes bytes of an array of them.
_WAYS_BY_KIND = {
    "M": 'send payload.view("i8")',
    "m": 'send payload.view("i8")',
    "O": "give it a dtype of fixed size (astype) first: its bytes are addresses of Python objects",
    "T": 'give it a dtype of fixed size first, as payload.astype("U")',
}


def refusal(payload: Any) -> str:
    """Return why ``payload`` cannot be sent and what can be sent in its place, as a sentence."""
    return f"a payload of type {full_name(type(payload))} cannot be sent as it is: {way_to_bytes(payload)}"


def way_to_bytes(payload: Any) -> str:
    """Return which call makes something that can be sent of ``payload``, as the end of a sentence."""
    for matches, way in _WAYS:
        if matches(payload):
            return way(payload)
    return _FALL_BACK


def is_asynchronous(payload: Any) -> bool:
    """Return whether ``payload`` can only be read by a coroutine."""
    return isinstance(payload, collections.abc.AsyncIterable) or reads_asynchronously(payload)


def reads_asynchronously(payload: Any) -> bool:
    """Return whether ``payload`` has a ``read`` that is a coroutine, as an ``asyncio.StreamReader`` has."""
    return inspect.iscoroutinefunction(getattr(payload, "read", None))


def holds_data(payload: Any) -> bool:
    """Return whether ``payload`` is an array, a table, a tensor or a model: iterating it would not give its bytes."""
    return any(hasattr(type(payload), name) for name in _MARKS_OF_DATA)


def hides_items(payload: Any) -> bool:
    """Return whether ``payload`` is an array that says which items do not count (``numpy.ma``), beside its bytes."""
    kind = type(payload)
    return hasattr(kind, "filled") and hasattr(kind, "mask")


# What types of data have: arrays and tensors, tables (Arrow, pandas, polars), pydantic's models.
_MARKS_OF_DATA = (
    "__array__",
    "__array_interface__",
    "__dlpack__",
    "__dataframe__",
    "__arrow_c_array__",
    "__arrow_c_stream__",
    "model_dump_json",
)


_Matches: TypeAlias = Callable[[Any], bool]
_Way: TypeAlias = Callable[[Any], str]


def _has(*names: str) -> _Matches:
    return lambda payload: any(hasattr(type(payload), name) for name in names)


def _is(*kinds: type) -> _Matches:
    return lambda payload: isinstance(payload, kinds)


def _say(way: str) -> _Way:
    return lambda _payload: way


def _reads(payload: Any) -> bool:
    """Return whether ``payload`` is read, by itself or through a file that it stands for."""
    return callable(getattr(payload, "read", None))


def _way_of_arrow(payload: Any) -> str:
    """Return the way for a table, or for a single column, which is none."""
    is_table = _has("columns", "schema")(payload)
    return _ARROW_STREAM.format("payload" if is_table else '{"column": payload}')


def _way_of_array(payload: Any) -> str:
    """Return the way for what numpy can make an array of."""
    dtype = getattr(payload, "dtype", None)
    # A structure with objects in it is of no use as bytes, either.
    kind = "O" if getattr(dtype, "hasobject", False) else getattr(dtype, "kind", "")
    if kind in _WAYS_BY_KIND:
        return _WAYS_BY_KIND[kind]
    if type(payload).__module__.partition(".")[0] == "numpy":
        # A type of items that another package has defined, or a structure with times in it.
        return "send payload.view(numpy.uint8)"
    return "send numpy.asarray(payload)"


def _way_of_mapping(payload: collections.abc.Mapping[Any, Any]) -> str:
    if any(holds_data(value) for value in payload.values()):
        return (
            "pack its arrays into bytes first, for example with safetensors.numpy.save(payload) or "
            "safetensors.torch.save(payload)"
        )
    return "send json.dumps(payload).encode()"


# The first that matches counts.
_WAYS: tuple[tuple[_Matches, _Way], ...] = (
    (_is(type), _say("it is a class: send an instance of it")),
    (
        hides_items,
        _say("its mask would be left behind: send payload.filled(value), or both payload.data and payload.mask"),
    ),
    (_is(str), _say("send payload.encode()")),
    (_is(collections.abc.Mapping), _way_of_mapping),
    (_is(bool, int, float, complex), _say("send str(payload).encode(), or put it into a header")),
    (_is(os.PathLike), _say("send FileStream(payload), or open it in binary mode ('rb')")),
    (_is(set, frozenset), _say("it has no order: send a list of bytes")),
    (_is(io.TextIOBase), _say("it gives text: open it in binary mode ('rb')")),
    (is_asynchronous, _say("it is asynchronous: send it as a stream with streamcell.aio.StreamCell")),
    (_reads, _say("send it with send_stream, or send payload.read()")),
    # torch: numpy knows neither its devices nor its gradients.
    (
        _has("requires_grad"),
        _say("send payload.detach().cpu().numpy() (of a bfloat16: payload.view(torch.uint8) first)"),
    ),
    (_has("state_dict"), _say("send safetensors.torch.save(payload.state_dict())")),
    (_has("__arrow_c_stream__", "__arrow_c_array__", "__dataframe__"), _way_of_arrow),
    (_has("__array__", "__array_interface__"), _way_of_array),
    (_has("model_dump_json"), _say("send payload.model_dump_json().encode()")),
    (_has("SerializeToString"), _say("send payload.SerializeToString()")),
    (_has("communicate"), _say("send payload.stdout with send_stream")),
    (_has("makefile"), _say("send payload.makefile('rb') with send_stream")),
    (_has("tobytes"), _say("send payload.tobytes()")),
    (_has("__bytes__"), _say("send bytes(payload)")),
    (dataclasses.is_dataclass, _say("send json.dumps(dataclasses.asdict(payload)).encode()")),
    (inspect.isawaitable, _say("await it first")),
    (_has("__iter__"), _say("if its items are bytes, send it with send_stream, or send b''.join(payload)")),
)
