"""Keys, tags and codes of sealed streams."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcell.security.sealing.cipher import TAG_BYTES, AttemptCipher, Sealed
from streamcell.security.sealing.keys import CODE_BYTES, CodeSecret, ContentSecret

SECRET = bytes(range(32))
KEY = bytes(range(100, 132))
SIZES = (0, 1, 1000, 64 * 1024, 64 * 1024 + 1, 1024 * 1024)


@pytest.mark.parametrize("size", SIZES)
def test_what_was_sealed_is_opened(size: int) -> None:
    cipher, payload = AttemptCipher(KEY), bytes(range(256)) * (size // 256) + bytes(size % 256)
    sealed = cipher.seal(3, memoryview(payload), b"place")
    assert (len(sealed.data), len(sealed.tag)) == (size, TAG_BYTES)
    assert AttemptCipher(KEY).open(3, sealed, b"place") == payload
    if size > TAG_BYTES:
        assert payload not in bytes(sealed.data)


@pytest.mark.parametrize("size", SIZES)
def test_anything_else_is_not_opened(size: int) -> None:
    cipher = AttemptCipher(KEY)
    sealed = cipher.seal(3, bytes(size), b"place")
    assert cipher.open(4, sealed, b"place") is None
    assert cipher.open(3, sealed, b"places") is None
    assert AttemptCipher(SECRET).open(3, sealed, b"place") is None
    assert cipher.open(3, sealed._replace(data=bytes(sealed.data) + b"\0"), b"place") is None
    assert cipher.open(3, sealed._replace(tag=bytes(TAG_BYTES)), b"place") is None
    for length in (0, 4, TAG_BYTES - 1):
        assert cipher.open(3, sealed._replace(tag=sealed.tag[:length]), b"place") is None
    if size:
        assert cipher.open(3, sealed._replace(data=sealed.data[1:]), b"place") is None


@given(st.binary(min_size=1, max_size=100), st.data())
def test_no_bit_can_be_changed(payload: bytes, data: st.DataObject) -> None:
    cipher = AttemptCipher(KEY)
    sealed = cipher.seal(0, payload, b"place")
    whole = bytearray(bytes(sealed.data) + sealed.tag)
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[bit // 8] ^= 1 << bit % 8
    assert cipher.open(0, Sealed(bytes(whole[:-TAG_BYTES]), bytes(whole[-TAG_BYTES:])), b"place") is None


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_what_an_opening_hides(hidden: bytes, covered: bytes) -> None:
    cipher = AttemptCipher(KEY)
    sealed = cipher.seal_opening(hidden, covered)
    assert cipher.open_opening(sealed, covered) == hidden
    assert cipher.open_opening(sealed, covered + b"x") is None
    assert cipher.open_opening(sealed[1:], covered) is None
    assert cipher.open_opening(sealed[:5], covered) is None
    # No chunk is taken for an Open part.
    as_chunk = cipher.seal(0, hidden, covered)
    assert cipher.open_opening(bytes(as_chunk.data) + as_chunk.tag, covered) is None


def test_every_attempt_stream_and_direction_has_a_key_of_its_own() -> None:
    secret = ContentSecret(SECRET)
    every = [
        bytes(secret.of_stream(stream, from_initiator=way).of_attempt(attempt).seal(0, bytes(32), b"").data)
        for stream in (1, 2, 2**64 - 1)
        for way in (False, True)
        for attempt in (1, 2)
    ]
    assert len(set(every)) == len(every)
    codes = [
        CodeSecret(SECRET).of_stream(stream, from_initiator=way).code(b"frame")
        for stream in (1, 2)
        for way in (False, True)
    ]
    assert len(set(codes)) == len(codes)


def test_a_code_proves_what_it_covers() -> None:
    key = CodeSecret(SECRET).of_stream(7, from_initiator=True)
    code = key.code(b"frame")
    assert len(code) == CODE_BYTES
    assert key.proves(code, b"frame")
    assert not key.proves(code, b"frames")
    for other in (b"", code[:-1], code + b"\0", bytes(CODE_BYTES)):
        assert not key.proves(other, b"frame")


def test_what_is_hidden_is_told_again_by_who_has_the_key() -> None:
    key = CodeSecret(SECRET).of_stream(7, from_initiator=True)
    other = CodeSecret(SECRET).of_stream(8, from_initiator=True)
    every = [
        key.hide("digest", "a"), key.hide("prefix", "a"), key.hide("digest", "b"), other.hide("digest", "a")
    ]  # fmt: skip
    assert len(set(every)) == len(every)
    assert key.hide("digest", "a") == every[0]
    assert every[0].text.startswith("hmac-sha256:")


def test_secrets_are_not_shown() -> None:
    content, code = ContentSecret(SECRET), CodeSecret(SECRET)
    every = (content, code, content.of_stream(1, from_initiator=True), code.of_stream(1, from_initiator=True))
    for each in (*every, AttemptCipher(SECRET)):
        assert repr(each) == f"<{type(each).__name__}>"
        with pytest.raises(TypeError, match="stays in the memory"):
            pickle.dumps(each)
