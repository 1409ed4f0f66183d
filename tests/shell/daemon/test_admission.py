"""Who may receive a file, and who may name one, while an inbox is open, drains and gives up."""

from __future__ import annotations

import concurrent.futures

import pytest

from streamcell import ErrorCode, StreamRejected
from streamcell.daemon.admission import Admission
from tests.kit.waiting import PATIENCE_S, Gate


def test_work_files_belong_to_one_at_a_time() -> None:
    admission = Admission()
    with concurrent.futures.ThreadPoolExecutor(1) as pool, Gate() as gate:

        def receive() -> bool:
            with admission.enter("key"):
                gate.pass_through()
                return True

        first = pool.submit(receive)
        gate.wait_arrived()
        assert (admission.count(), admission.is_active("key"), admission.is_active("other")) == (1, True, False)
        with admission.enter("other") as key:
            assert key == "other"
        assert not admission.wait_idle(0)
        gate.open()
        with admission.enter("key"):
            assert first.result(PATIENCE_S)
    assert admission.wait_idle(0)


def test_draining_lets_what_has_begun_be_named() -> None:
    admission = Admission()
    with admission.enter("key"):
        admission.begin_drain()
        with pytest.raises(StreamRejected) as refused, admission.enter("other"):
            pass
        assert refused.value.code is ErrorCode.STOPPING
        with admission.naming():
            assert not admission.wait_named(0)
    assert admission.wait_named(0)


def test_giving_up_lets_nothing_be_named_but_what_is_just_named() -> None:
    admission = Admission()
    with admission.naming():
        admission.give_up()
        assert not admission.wait_named(0)
        with pytest.raises(StreamRejected) as refused, admission.naming():
            pass
        assert refused.value.code is ErrorCode.STOPPING
    assert admission.wait_named(0)
    # It does not go back to an earlier stage.
    admission.begin_drain()
    with pytest.raises(StreamRejected), admission.naming():
        pass


def test_who_waits_for_work_files_hears_of_the_end() -> None:
    admission = Admission()
    with concurrent.futures.ThreadPoolExecutor(1) as pool, admission.enter("key"):
        waiting = pool.submit(lambda: admission.enter("key").__enter__())
        admission.begin_drain()
        assert isinstance(waiting.exception(PATIENCE_S), StreamRejected)
