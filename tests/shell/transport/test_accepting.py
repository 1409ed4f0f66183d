import os
import socket
import sys

import pytest

from streamcell.transport.grpc.accepting import can_open, close_copies, find_listening
from tests.kit.waiting import eventually


def test_a_listening_socket_is_found_and_tells_who_waits() -> None:
    before = set(find_listening())
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (found,) = set(find_listening()) - before
        assert (found.descriptor, found.is_open, found.is_waited_at) == (server.fileno(), True, False)
        assert found.is_at(port)
        assert not found.is_at(0)
        with socket.create_connection(server.getsockname()):
            eventually(lambda: found.is_waited_at)
            accepted, _ = server.accept()
            accepted.close()
            assert not found.is_waited_at
    assert not found.is_open
    assert not found.is_waited_at


@pytest.mark.parametrize(
    ("listening", "local", "own"),
    [
        (("::", 80, 0, 0), ("::ffff:10.0.0.1", 80, 0, 0), True),
        (("::ffff:127.0.0.1", 80, 0, 0), ("127.0.0.1", 80), True),
        (("127.0.0.1", 80), ("127.0.0.2", 80), False),
        (("0.0.0.0", 80), ("127.0.0.1", 81), False),
        ("/run/a", "/run/a", True),
        ("/run/a", "/run/b", False),
        (("::", 80, 0, 0), "/run/a", False),
    ],
)
def test_what_was_accepted_is_known_by_its_address(listening: object, local: object, own: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        (found,) = [each for each in find_listening() if each.descriptor == server.fileno()]
    assert type(found)(0, 0, listening).has_accepted(local) is own


@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_copies_are_closed_and_nothing_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as other:
        (found,) = [each for each in find_listening() if each.descriptor == server.fileno()]
        with socket.create_connection(server.getsockname()) as client, server.accept()[0] as accepted:
            descriptors = [each.fileno() for each in (server, accepted, client, other)]
            kept = [os.dup(each) for each in descriptors]
            # In this process, as in a child: all copies go that lead there.
            close_copies((found,))
            assert [_is_open(each) for each in descriptors] == [False, False, True, True]
            assert [_is_open(each) for each in kept] == [False, False, True, True]
            os.close(kept[2])
            os.close(kept[3])
            server.detach()
            accepted.detach()


def test_a_descriptor_can_be_had() -> None:
    assert can_open()


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
