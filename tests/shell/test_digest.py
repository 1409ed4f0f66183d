from __future__ import annotations

import hashlib

import pytest

from streamcell.digest import Digest, Hasher

HEX = hashlib.sha256(b"abcdef").hexdigest()


def test_a_digest_is_written_with_its_algorithm() -> None:
    assert str(Digest.of([b"abcdef"])) == Digest.of([b"abcdef"]).text == f"sha256:{HEX}"


@pytest.mark.parametrize("pieces", [[b"abcdef"], [b"abc", bytearray(b"def")], [b"a", b"", memoryview(b"bcdef")]])
def test_it_does_not_matter_in_which_pieces_bytes_come(pieces: list[bytes]) -> None:
    hasher = Hasher()
    for piece in pieces:
        hasher.update(piece)
    assert hasher.digest() == Digest.of(pieces) == Digest.parse(f"sha256:{HEX}")


@pytest.mark.parametrize("size", [0, 2, 3, 4, 6, 9])
def test_the_first_bytes_have_a_digest_of_their_own(size: int) -> None:
    assert Digest.of([b"abc", b"def"], size) == Digest.of([b"abcdef"[:size]])


def test_more_may_follow_what_has_a_digest() -> None:
    hasher = Hasher()
    hasher.update(b"abc")
    below = hasher.digest()
    hasher.update(b"def")
    assert (below, hasher.digest()) == (Digest.of([b"abc"]), Digest.of([b"abcdef"]))


def test_letters_of_any_case_are_the_same_digest() -> None:
    assert Digest.parse(f"sha256:{HEX.upper()}") == Digest.of([b"abcdef"])


@pytest.mark.parametrize("text", ["", "sha256", "sha256:", f"sha256:{HEX[:-1]}", f"sha256:{HEX}0", f"md5:{HEX}", HEX])
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        Digest.parse(text)


def test_a_digest_by_another_algorithm_goes_on_as_it_is_and_equals_none_of_these() -> None:
    other = Digest("blake3:00")
    assert str(other) == "blake3:00"
    assert other != Digest.of([b""])
