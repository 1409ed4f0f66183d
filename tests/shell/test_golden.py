"""The wire's documents say what the code does: tables, and examples that hold without our codec."""

import struct
from pathlib import Path
from typing import get_args

import pytest
from google.protobuf import text_format

from scripts import golden
from streamcell.limits import KIB, MIB
from streamcell.protocol.wire.frames import Chunk, Frame
from streamcell.transport.codec import decode_batch
from streamcell.v1 import cell_pb2

WIRE = (golden.ROOT / "docs/wire.md").read_text(encoding="utf-8")
SHOWN = golden.EXAMPLES_PAGE.read_text(encoding="utf-8")
EXAMPLES = golden.examples()


def shown(example: golden.Example) -> tuple[str, bytes]:
    """Returns what the document shows of an example: the text, and the bytes."""
    section = SHOWN.split(f"## {example.title}\n")[1]
    text, hexadecimal = section.split("```text\n")[1].split("\n```\n\n```hex\n")
    return text, bytes.fromhex(hexadecimal.split("\n```")[0])


@pytest.mark.parametrize("path", golden.PAGES, ids=lambda path: path.name)
def test_page_is_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == golden.PAGES[path]()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_protobuf_alone_agrees_with_the_example(example: golden.Example) -> None:
    text, data = shown(example)
    message = cell_pb2.ExchangeRequest.FromString(data)
    assert message == text_format.Parse(text, cell_pb2.ExchangeRequest())
    assert message.SerializeToString() == data


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_example_is_read_back(example: golden.Example) -> None:
    assert decode_batch([shown(example)[1]]) == list(example.batch)


def crc32c(data: bytes) -> int:
    """CRC32C bit by bit, from its definition."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def test_checksum_is_what_the_document_says() -> None:
    chunks = [frame for example in EXAMPLES for frame in example.batch if isinstance(frame, Chunk)]
    assert len(chunks) > 3
    for chunk in chunks:
        stream_id, attempt = struct.pack("<Q", chunk.key.stream_id), struct.pack("<I", chunk.attempt)
        position = struct.pack("<QQ", chunk.sequence, chunk.offset)
        covered = bytes(chunk.payload) + stream_id + attempt + position + bytes([chunk.last])
        assert chunk.checksum == crc32c(covered)


def test_every_frame_has_an_example() -> None:
    kinds = {type(frame).__name__ for example in EXAMPLES for frame in example.batch}
    assert kinds == {kind.__name__ for kind in get_args(Frame)}


def test_every_frame_is_in_the_table_of_frames() -> None:
    section = WIRE.split("## Frames\n")[1].split("\n## ")[0]
    for kind in get_args(Frame):
        assert f"`{kind.__name__}`" in section


def test_sizes_are_written_as_people_do() -> None:
    assert [golden.number(value) for value in (16, 4096, 64 * KIB, 6 * MIB, 64 * KIB + 1)] == [
        "16",
        "4,096",
        "64 KiB",
        "6 MiB",
        "65,537",
    ]
