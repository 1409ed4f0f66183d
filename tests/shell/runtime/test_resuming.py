"""The one choice of an offset, by whichever comes first."""

from __future__ import annotations

import io
from typing import Any

import pytest

from streamcell import StreamCancelled, StreamResumeError, UsageError
from streamcell.digest import Digest
from streamcell.runtime.receiving.resuming import Resumption, check_offset, check_placed, hash_prefix

DATA = b"0123456789"


class Owner:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_weighing(self) -> None:
        self.told.append("weighing")

    def on_chosen(self, offset: int, prefix_digest: Digest | None) -> None:
        self.told.append((offset, prefix_digest))


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def resumption(owner: Owner) -> Resumption:
    resumption = Resumption(owner)
    resumption.enter("callback")
    return resumption


@pytest.mark.parametrize(("returned", "offset"), [(5, 5), (0, 0), (None, 0), (2**63 - 1, 2**63 - 1)])
def test_what_the_callback_returns_counts(
    resumption: Resumption, owner: Owner, returned: int | None, offset: int
) -> None:
    resumption.before_read("another thread")
    assert owner.told == []
    resumption.leave(returned)
    assert owner.told == [(offset, None)]
    # Who reads now is nobody special.
    resumption.before_read("callback")
    resumption.leave(7)
    assert owner.told == [(offset, None)]


@pytest.mark.parametrize("returned", [-1, 2**63, 10**30, True, False, "5", 5.0])
def test_what_is_no_offset_does_not_count_as_one(resumption: Resumption, owner: Owner, returned: object) -> None:
    with pytest.raises(UsageError, match="the offset that it returns must be a whole number"):
        resumption.leave(returned)
    assert owner.told == []


def test_what_is_no_offset_does_not_matter_after_a_choice(resumption: Resumption, owner: Owner) -> None:
    resumption.before_read("callback")
    resumption.leave("done")
    assert owner.told == [(0, None)]


@pytest.mark.parametrize("have", ["x", 5, io.StringIO("text")])
def test_what_is_there_is_a_binary_file(resumption: Resumption, owner: Owner, have: Any) -> None:
    with pytest.raises(UsageError, match="have must be a binary file"):
        resumption.begin(1, have)
    assert owner.told == []
    resumption.begin(1, None)


def test_what_the_callback_reads_counts_before_that(resumption: Resumption, owner: Owner) -> None:
    resumption.before_read("callback")
    resumption.before_read("callback")
    resumption.leave(5)
    assert owner.told == [(0, None)]
    with pytest.raises(StreamResumeError, match="told before to go on at 0"):
        resumption.begin(5, None)


def test_what_is_there_is_hashed(resumption: Resumption, owner: Owner) -> None:
    file = io.BytesIO(DATA)
    file.seek(9)
    placed = resumption.begin(4, file)
    assert owner.told == ["weighing", (4, Digest.of([DATA[:4]]))]
    assert file.tell() == 4
    prefix = resumption.prefix_below(4)
    resumption.settle(4)
    assert placed.result(0) == 4
    assert prefix is not None
    assert prefix.digest() == Digest.of([DATA[:4]])


def test_what_is_there_is_nothing_where_the_origin_goes_on_elsewhere(resumption: Resumption, owner: Owner) -> None:
    placed = resumption.begin(4, io.BytesIO(DATA))
    assert resumption.prefix_below(0) is None
    resumption.settle(0)
    assert placed.result(0) == 0


def test_nothing_is_hashed_for_0(resumption: Resumption, owner: Owner) -> None:
    resumption.begin(0, io.BytesIO(DATA))
    assert owner.told == [(0, None)]


def test_a_choice_that_is_wrong_is_none(resumption: Resumption, owner: Owner) -> None:
    with pytest.raises(StreamResumeError, match="only 10 bytes"):
        resumption.begin(11, io.BytesIO(DATA))
    with pytest.raises(UsageError):
        resumption.begin(-1, None)
    assert owner.told == ["weighing"]
    resumption.begin(10, None)


def test_a_stream_that_fails_ends_the_wait(resumption: Resumption) -> None:
    placed = resumption.begin(4, None)
    resumption.fail(StreamCancelled("gone"))
    resumption.fail(StreamCancelled("twice"))
    resumption.settle(4)
    with pytest.raises(StreamCancelled, match="gone"):
        placed.result(0)


@pytest.mark.parametrize("offset", [-1, True, 1.0, "1", None, 2**63, 10**30])
def test_offsets_are_whole_numbers(offset: object) -> None:
    with pytest.raises(UsageError, match="whole number"):
        check_offset(offset)


def test_where_it_goes_on_is_compared() -> None:
    check_placed(5, 5, "site-1")
    with pytest.raises(StreamResumeError, match="site-1 cannot go on at 5"):
        check_placed(5, 0, "site-1")


def test_a_prefix_may_be_all_there_is() -> None:
    assert hash_prefix(io.BytesIO(DATA), 10).digest() == Digest.of([DATA])
