"""Room on the disk, divided among files that arrive."""

import pytest

from streamcell import StreamRejected
from streamcell.daemon.space import Space


def test_claims_are_counted_together() -> None:
    space = Space(min_free_bytes=100)
    with space.claim(400, free_bytes=1000) as first:
        with space.claim(500, free_bytes=1000):
            with (
                pytest.raises(StreamRejected, match="1 more bytes are needed and 0 are available"),
                space.claim(1, 1000),
            ):
                pass
            # 400 bytes of the first are written: they are gone from what is free, and no longer claimed.
            first.use(400)
            with pytest.raises(StreamRejected), space.claim(1, free_bytes=600):
                pass
        with space.claim(500, free_bytes=600):
            pass
    with space.claim(900, free_bytes=1000):
        pass


def test_nothing_fits_below_what_has_to_stay_free() -> None:
    with pytest.raises(StreamRejected, match="5 more bytes are needed and 0 are available"), Space(100).claim(5, 90):
        pass
