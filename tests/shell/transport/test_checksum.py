"""The checksum against the examples of its standard."""

import pytest

from streamcell.transport.checksum import checksum


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # RFC 3720, appendix B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_the_checksum_is_crc32c(data: bytes, expected: int) -> None:
    assert checksum(data) == expected
    assert checksum(memoryview(bytearray(data))) == expected


def test_a_checksum_can_be_continued() -> None:
    assert checksum(b"6789", checksum(b"12345")) == checksum(b"123456789")
