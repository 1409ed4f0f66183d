"""What can be sent: pipes and whatever trickles, numbers of other packages, arrays, tables."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import gzip
import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamcell import FileStream, IterStream, Message, ReceivedStream, StreamFuture, StreamUsageError, UsageError
from tests.kit.cells import Pair
from tests.kit.payloads import pattern
from tests.kit.programs import hub, run_command
from tests.kit.waiting import PATIENCE_S, Box

MIB = 1 << 20
DATA = pattern(2 * MIB + 54_321)


@pytest.fixture
def pieces(pair: Pair) -> Box[bytes]:
    """What the server gets of streams on c/t, piece by piece as it comes; empty: the end."""
    box: Box[bytes] = Box()

    def read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        for piece in stream.pieces():
            box.put(bytes(piece))
        box.put(b"")

    pair.at_server.register_stream_cb("c", "t", read)
    return box


def all_of(pieces: Box[bytes]) -> bytes:
    return b"".join(iter(pieces.get, b""))


def send(pair: Pair, payload: Any, headers: dict[str, Any] | None = None) -> StreamFuture:
    return pair.at_site.send_stream("c", "t", "server", Message(headers, payload))


# --- 4.1: what is no regular file has neither a size nor a stamp


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Path]:
    """A named pipe to which a thread writes all of DATA."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(DATA,))
    writer.start()
    yield path
    writer.join(PATIENCE_S)


@pytest.mark.parametrize("buffering", [0, -1])
def test_case_4_1_a_named_pipe_that_was_opened_arrives(
    pair: Pair, pieces: Box[bytes], fifo: Path, buffering: int
) -> None:
    with fifo.open("rb", buffering=buffering) as opened:
        assert send(pair, opened).result(PATIENCE_S) == len(DATA)
    assert all_of(pieces) == DATA


def test_case_4_1_a_named_pipe_arrives(pair: Pair, pieces: Box[bytes], fifo: Path) -> None:
    assert send(pair, FileStream(fifo)).result(PATIENCE_S) == len(DATA)
    assert all_of(pieces) == DATA


def test_case_4_1_a_named_pipe_for_several_targets(pair: Pair, pieces: Box[bytes], fifo: Path) -> None:
    futures = pair.at_site.send_stream("c", "t", ["server"], Message({}, FileStream(fifo)), digest="sha256")
    assert futures["server"].result(PATIENCE_S) == len(DATA)
    assert all_of(pieces) == DATA


def test_case_4_1_a_device_arrives(pair: Pair, pieces: Box[bytes]) -> None:
    assert send(pair, FileStream(os.devnull)).result(PATIENCE_S) == 0
    assert all_of(pieces) == b""


def test_case_4_1_only_a_regular_file_has_size_and_stamp(tmp_path: Path, fifo: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"bytes")
    with contextlib.closing(FileStream(path)) as regular, contextlib.closing(FileStream(fifo)) as pipe:
        assert (regular.get_size(), bool(regular.get_stamp())) == (5, True)
        assert (pipe.get_size(), pipe.get_stamp()) == (0, b"")
        with pytest.raises(OSError, match=r"seek"):
            pipe.seek(1)
        while pipe.read(MIB):
            pass


def test_case_4_1_the_command_sends_a_named_pipe(tmp_path: Path, fifo: Path) -> None:
    with hub(tmp_path) as (_, url):
        ended = run_command("send", fifo, "--to", "hub", "--connect", url, "--as", "site", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert (tmp_path / "inbox/site/pipe").read_bytes() == DATA


# --- 4.2: what trickles is sent as it comes


def assert_line_by_line(pair: Pair, pieces: Box[bytes], source: Any, write: Callable[[bytes], None]) -> None:
    """Each line is written when the one before has arrived, so none can be held back."""
    future = send(pair, source)
    for number in range(5):
        line = b"line %d\n" % number
        write(line)
        assert pieces.get() == line
    write(b"")
    assert pieces.get() == b""
    future.result(PATIENCE_S)


@pytest.mark.parametrize("buffering", [0, -1])
def test_case_4_2_lines_of_a_process_arrive_one_by_one(pair: Pair, pieces: Box[bytes], buffering: int) -> None:
    echo = [sys.executable, "-c", "import os, sys\nfor line in sys.stdin.buffer: os.write(1, line)"]
    with subprocess.Popen(echo, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=buffering) as process:
        entrance = process.stdin
        assert entrance is not None

        def write(line: bytes) -> None:
            entrance.write(line)
            entrance.flush() if line else entrance.close()

        assert_line_by_line(pair, pieces, process.stdout, write)


def test_case_4_2_lines_that_are_unpacked_arrive_one_by_one(pair: Pair, pieces: Box[bytes]) -> None:
    way_out, way_in = os.pipe()
    # Unpacking reads as much as its file lets it wait for.
    with open(way_out, "rb", buffering=0) as packed, open(way_in, "wb") as raw, gzip.open(raw, "wb") as packer:  # noqa: PTH123

        def write(line: bytes) -> None:
            packer.write(line)
            packer.flush() if line else packer.close()
            raw.flush() if line else raw.close()

        with gzip.open(packed) as unpacked:
            assert_line_by_line(pair, pieces, unpacked, write)


def test_case_4_2_the_end_is_told_from_nothing_yet(pair: Pair, pieces: Box[bytes]) -> None:
    way_out, way_in = os.pipe()
    os.set_blocking(way_out, False)
    # A buffered file that does not block gives no bytes from read1() where read() gives None.
    with (
        open(way_out, "rb") as source,  # noqa: PTH123
        open(way_in, "wb"),  # noqa: PTH123
        pytest.raises(StreamUsageError, match="non-blocking"),
    ):
        send(pair, source).result(PATIENCE_S)


def test_case_4_2_a_file_object_whose_read1_is_not_supported(pair: Pair, pieces: Box[bytes]) -> None:
    class Bare(io.BufferedIOBase):
        def __init__(self) -> None:
            self.left = [b"some ", b"bytes"]

        def read(self, size: int | None = -1, /) -> bytes:
            return self.left.pop(0) if self.left else b""

    assert send(pair, Bare()).result(PATIENCE_S) == 10
    assert all_of(pieces) == b"some bytes"


# --- 4.4: headers


class Colour(enum.IntEnum):
    RED = 3


class Kind(enum.Enum):
    A = "a"


def test_case_4_4_numbers_that_say_which_whole_number_they_are(pair: Pair) -> None:
    arrived: Box[dict[str, Any]] = Box()
    pair.at_server.register_blob_cb("c", "t", lambda future: arrived.put(future.get_headers()))
    headers: dict[str, Any] = {
        "step": np.int64(3),
        "small": np.uint8(255),
        "done": np.bool_(True),
        "not": np.bool_(False),
        "loss": np.float64(0.5),
        "colour": Colour.RED,
        "array": np.array(7),
    }
    pair.at_site.send_blob("c", "t", "server", Message(headers, b"")).result(PATIENCE_S)
    received = arrived.get()
    assert received == {
        "step": 3, "small": 255, "done": True, "not": False, "loss": 0.5, "colour": 3, "array": 7,
    }  # fmt: skip
    assert [type(received[key]) for key in ("step", "done", "not", "loss")] == [int, bool, bool, float]
    replied: dict[str, Any] = {"steps": np.int32(5)}
    asked: dict[str, Any] = {"step": np.int16(4)}
    pair.server.register_request_cb("r", "t", lambda request: Message(replied))
    assert pair.site.send_request("r", "t", "server", Message(asked), PATIENCE_S).headers == {"steps": 5}


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (None, "NoneType: leave the header out"),
        (np.float32(0.5), r"numpy\.float32: use float\(value\)"),
        (bytearray(b"x"), r"bytearray: use bytes\(value\)"),
        ([1], r"list: use json\.dumps"),
        ({"a": 1}, r"dict: use json\.dumps"),
        (np.array([1, 2]), r"numpy\.ndarray: put it into the payload"),
        (np.datetime64("2026-01-01"), r"numpy\.datetime64: (?!.*float\().*str\(value\)"),
        (np.uint64(2**63), "64 bits"),
        (Path("x"), r"pathlib\S*\.PosixPath: .*str\(value\)"),
        (Kind.A, r"Kind: use its \.value"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_case_4_4_what_cannot_travel_is_named_in_full(pair: Pair, value: Any, named: str) -> None:
    for call in (pair.at_site.send_stream, pair.at_site.send_blob):
        with pytest.raises(UsageError, match=f"'key'.*{named}"):
            call("c", "t", "server", Message({"key": value}, b""))
    with pytest.raises(UsageError, match=f"'key'.*{named}"):
        pair.site.send_request("c", "t", "server", Message({"key": value}))


# --- 4.5: what gives out no bytes by itself


def made(module: str, name: str, **methods: Any) -> Any:
    """Return something of a type like those of a package that is not installed here."""
    return type(name, (), {"__module__": module, **methods})()


def nothing(*_: Any) -> Iterator[Any]:
    return iter(())


@dataclasses.dataclass
class Point:
    x: int


TENSOR = made("torch", "Tensor", requires_grad=True, numpy=nothing, __array__=nothing, __iter__=nothing, __len__=len)
WAYS: dict[str, tuple[Any, str]] = {
    "tensor": (TENSOR, r"torch\.Tensor .*payload\.detach\(\)\.cpu\(\)\.numpy\(\)"),
    "dict of tensors": ({"w": TENSOR}, r"dict .*safetensors"),
    "dict of arrays": ({"w": np.zeros(3)}, r"dict .*safetensors"),
    "dict": ({"w": 1}, r"dict .*json\.dumps\(payload\)\.encode\(\)"),
    "module": (made("torch", "Module", state_dict=nothing), r"safetensors\.torch\.save\(payload\.state_dict\(\)\)"),
    "table": (made("pyarrow.lib", "Table", __arrow_c_stream__=nothing, schema=1), r"IPC.*table\(payload\)"),
    "frame": (made("pandas", "DataFrame", __dataframe__=nothing, columns=1), r"IPC.*table\(payload\)"),
    "column": (made("pandas", "Series", __arrow_c_stream__=nothing), r'table\({"column": payload}\)'),
    "str": ("text", r"str .*payload\.encode\(\)"),
    "list of str": (["text"], r"str .*payload\.encode\(\)"),
    "model": (made("shop", "Order", model_dump_json=nothing, __iter__=nothing), r"shop\.Order .*model_dump_json\(\)"),
    "times": (np.array(["2026-01-01"], "datetime64[s]"), r'numpy\.ndarray .*payload\.view\("i8"\)'),
    "durations": (np.array([1], "timedelta64[s]"), r'payload\.view\("i8"\)'),
    "record of times": (np.zeros(2, [("at", "M8[s]")]), r"payload\.view\(numpy\.uint8\)"),
    "objects": (np.array([object()]), r"astype"),
    "record of objects": (np.zeros(2, [("a", "O")]), r"astype"),
    "masked": (np.ma.masked_less([1, 2, 3], 2), r"payload\.filled\(value\), or both payload\.data and payload\.mask"),
    "masked, of which nothing is": (np.ma.array([1, 2]), r"payload\.filled"),
    "masked record": (np.ma.zeros(2, [("a", "i4")])[0], r"payload\.filled"),
    "list of masked": ([b"x", np.ma.array([1])], r"payload\.filled"),
    "protobuf": (made("shop_pb2", "Order", SerializeToString=nothing), r"SerializeToString\(\)"),
    "dataclass": (Point(1), r"dataclasses\.asdict"),
    "number": (5, r"str\(payload\)\.encode\(\)"),
    "path": (Path("file"), r"FileStream\(payload\)"),
    "set": ({b"x"}, "no order"),
    "class": (io.BytesIO, "is a class"),
    "process": (made("subprocess", "Popen", communicate=nothing), r"payload\.stdout"),
    "socket": (made("socket", "socket", detach=nothing, makefile=nothing), r"payload\.makefile\('rb'\)"),
    "has bytes": (made("shop", "Token", __bytes__=nothing), r"bytes\(payload\)"),
    "object": (object(), "buffer protocol"),
}  # fmt: skip


@pytest.mark.parametrize("name", WAYS)
def test_case_4_5_the_sentence_says_which_call_makes_bytes_of_it(pair: Pair, name: str) -> None:
    payload, way = WAYS[name]
    stream, blob = pair.at_site.send_stream, pair.at_site.send_blob
    with pytest.raises(StreamUsageError, match=way):
        blob("c", "t", "server", Message({}, payload))
    with pytest.raises(UsageError, match=way):
        pair.site.send_request("c", "t", "server", Message({}, payload))
    with pytest.raises(StreamUsageError, match=way):
        stream("c", "t", "server", Message({}, payload)).result(PATIENCE_S)


@pytest.mark.parametrize(
    "source",
    [
        io.BytesIO(b"x"),
        io.BufferedReader(io.BytesIO(b"x")),
        gzip.GzipFile(fileobj=io.BytesIO()),
        IterStream([b"x"]),
        # As tempfile.NamedTemporaryFile gives one: it only passes on what it is asked for.
        made("tempfile", "Wrapper", __getattr__=lambda _self, name: getattr(io.BytesIO(b"x"), name)),
    ],
    ids=lambda source: type(source).__name__,
)
def test_case_4_5_what_is_read_is_no_blob(pair: Pair, source: Any) -> None:
    with pytest.raises(StreamUsageError, match=r"with send_stream, or send payload\.read\(\)"):
        pair.at_site.send_blob("c", "t", "server", Message({}, source))


def test_case_4_5_a_file_of_text_is_to_be_opened_as_bytes(pair: Pair) -> None:
    with open(__file__, encoding="utf-8") as text:  # noqa: PTH123
        for call in (pair.at_site.send_stream, pair.at_site.send_blob):
            with pytest.raises(StreamUsageError, match="binary mode"):
                call("c", "t", "server", Message({}, text))


def test_case_4_5_what_the_sentence_says_works(pair: Pair, pieces: Box[bytes]) -> None:
    times = np.array(["2026-01-01", "2026-01-02"], "datetime64[s]")
    records = np.zeros(2, [("at", "M8[s]"), ("value", "f4")])
    for array, way in ((times, times.view("i8")), (records, records.view(np.uint8))):
        send(pair, way).result(PATIENCE_S)
        assert all_of(pieces) == array.tobytes()
    masked = np.ma.masked_less(np.arange(5), 2)
    send(pair, masked.filled(-1)).result(PATIENCE_S)
    assert all_of(pieces) == np.array([-1, -1, 2, 3, 4]).tobytes()
    send(pair, [masked.data, masked.mask]).result(PATIENCE_S)
    assert all_of(pieces) == masked.data.tobytes() + masked.mask.tobytes()


class Measured(np.ndarray):
    """An array with something beside its items, as packages for units have it."""


@pytest.mark.parametrize("kind", ["matrix", "records", "class", "mapped"])
def test_case_4_5_kinds_of_arrays_are_their_items(pair: Pair, pieces: Box[bytes], kind: str, tmp_path: Path) -> None:
    plain = np.arange(6.0)
    kinds: dict[str, Callable[[], Any]] = {
        "matrix": lambda: plain.view(np.matrix),
        "records": lambda: plain.view([("a", "f8")]).view(np.recarray),
        "class": lambda: plain.view(Measured),
        "mapped": lambda: np.memmap(tmp_path / "mapped", plain.dtype, "w+", shape=plain.shape),
    }
    array = kinds[kind]()
    if kind == "mapped":
        array[:] = plain
    send(pair, array).result(PATIENCE_S)
    assert all_of(pieces) == plain.tobytes()


def test_case_4_5_masked_items_of_an_iterable_are_refused(pair: Pair, pieces: Box[bytes]) -> None:
    future = send(pair, IterStream([b"plain", np.ma.array([1], mask=[True])]))
    with pytest.raises(StreamUsageError, match=r"payload\.filled"):
        future.result(PATIENCE_S)


# --- 4.6: an array is its bytes, never its elements


@pytest.mark.parametrize(
    "array",
    [
        np.arange(5.0),
        np.arange(20.0)[::2],
        np.arange(12, dtype=">i4").reshape(3, 4).T,
        np.zeros((0, 3)),
        np.array(2.5),
        np.zeros(3, [("a", "i4"), ("b", "f8")]),
        np.array(["ab", "c"]),
    ],
    ids=["floats", "every second", "transposed", "empty", "scalar", "records", "texts"],
)
def test_case_4_6_an_array_as_a_stream_is_its_bytes(pair: Pair, pieces: Box[bytes], array: Any) -> None:
    future = send(pair, array)
    assert future.get_size() == array.nbytes
    assert future.result(PATIENCE_S) == array.nbytes
    assert all_of(pieces) == array.tobytes()


def test_case_4_6_no_array_is_taken_apart(pair: Pair) -> None:
    # Whatever cannot give its bytes is refused at the call: nothing of it has been sent.
    for array in (np.array(["2026-01-01"], "datetime64[s]"), np.array([object()]), TENSOR):
        with pytest.raises(StreamUsageError):
            send(pair, array)
