"""The golden vectors are current, and hold for this library and for protobuf alone."""

import hmac
import json
import re
from typing import Any, get_args

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf import json_format

from scripts import vectors
from streamcell.errors import ProtocolError
from streamcell.protocol.wire.frames import Chunk, Frame
from streamcell.protocol.wire.integrity import checksum_fields
from streamcell.transport.checksum import checksum
from streamcell.transport.codec import decode_batch, encode_batch
from streamcell.transport.parts import join
from streamcell.v1 import cell_pb2

# What the sentence of the error calls a field whose name it does not have as it stands.
SAID = {"": "malformed", "headers": "header", "stream": "origin"}


def load(name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((vectors.FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


def name_of(vector: dict[str, Any]) -> str:
    return str(vector["name"])


READ = load("frames") + load("edge_cases") + load("corrupt")
CORRUPT = load("corrupt")
REFUSED = load("refused")
CHECKSUMS = load("checksums")
SEALING = load("sealing")


def meaning(vector: dict[str, Any]) -> cell_pb2.ExchangeRequest:
    return json_format.ParseDict({"frames": vector["frames"]}, cell_pb2.ExchangeRequest())


def test_files_are_current() -> None:
    assert "".join(vectors.differences(vectors.files())) == ""


def test_every_file_is_described() -> None:
    readme = (vectors.FOLDER / "README.md").read_text(encoding="utf-8")
    assert [name for name in vectors.files() if f"`{name}`" not in readme] == []


def test_names_are_unique() -> None:
    for part in (READ, REFUSED, CHECKSUMS, SEALING):
        names = [vector["name"] for vector in part]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("vector", READ, ids=name_of)
def test_batch_is_read_as_shown(vector: dict[str, Any]) -> None:
    assert decode_batch([bytes.fromhex(vector["hex"])]) == decode_batch([meaning(vector).SerializeToString()])


@pytest.mark.parametrize("vector", [vector for vector in READ if vector["canonical"]], ids=name_of)
def test_batch_is_written_as_shown(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    assert meaning(vector).SerializeToString() == data
    assert join(encode_batch(decode_batch([data]))) == data


@pytest.mark.parametrize("vector", REFUSED, ids=name_of)
def test_batch_is_refused_for_the_reason_shown(vector: dict[str, Any]) -> None:
    data = b"".join(bytes.fromhex(part["hex"]) * part["times"] for part in vector["parts"])
    with pytest.raises(ProtocolError, match=SAID.get(vector["field"], vector["field"])):
        decode_batch([data])


def is_intact(chunk: Chunk) -> bool:
    place = checksum_fields(chunk.key, chunk.attempt, chunk.sequence, chunk.offset, last=chunk.last)
    return checksum(place, checksum(chunk.payload)) == chunk.checksum


@pytest.mark.parametrize("vector", READ, ids=name_of)
def test_only_corrupt_chunks_have_a_wrong_checksum(vector: dict[str, Any]) -> None:
    chunks = [frame for frame in decode_batch([bytes.fromhex(vector["hex"])]) if isinstance(frame, Chunk)]
    assert [is_intact(chunk) for chunk in chunks] == [vector not in CORRUPT] * len(chunks)
    assert chunks or vector not in CORRUPT


@pytest.mark.parametrize("vector", CHECKSUMS, ids=name_of)
def test_checksum_is_the_one_shown(vector: dict[str, Any]) -> None:
    assert checksum(bytes.fromhex(vector["covered"])) == vector["checksum"]


@pytest.mark.parametrize("vector", SEALING[1:], ids=name_of)
def test_sealing_holds_by_the_standard_library_and_the_cipher_alone(vector: dict[str, Any]) -> None:
    key, covered = bytes.fromhex(vector["secret"]), bytes.fromhex(vector["bytes"])
    for info in vector["expanded"]:
        # HKDF-Expand (RFC 5869, section 2.3) of one block.
        key = hmac.digest(key, bytes.fromhex(info) + b"\1", "sha256")
    if "tag" in vector:
        sealed = bytes.fromhex(vector["sealed"] + vector["tag"])
        assert AESGCM(key).decrypt(bytes.fromhex(vector["nonce"]), sealed, covered).hex() == vector["payload"]
    else:
        code = hmac.digest(key, covered, "sha256").hex()
        assert vector.get("code", code[:32]) == code[:32]
        assert vector.get("hidden", f"hmac-sha256:{code}") == f"hmac-sha256:{code}"


def test_there_is_a_vector_of_each_frame() -> None:
    shown = {kind for vector in load("frames") for frame in vector["frames"] for kind in frame}
    named = {re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower() for kind in get_args(Frame)}
    assert shown == named
