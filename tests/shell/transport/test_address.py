"""Addresses: what is accepted, what it means, and what is said of the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcell.errors import UsageError
from streamcell.transport.address import Address, Scheme, origin_of, parse_address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("grpc://host:80", Address(Scheme.GRPC, "host", 80)),
        ("grpcs://site-1.job@host:80", Address(Scheme.GRPCS, "host", 80, cell="site-1.job")),
        ("grpcs://hub@[::1]:80", Address(Scheme.GRPCS, "::1", 80, cell="hub")),
        ("grpcs://a-b.example.org:65535", Address(Scheme.GRPCS, "a-b.example.org", 65535)),
        ("grpc://127.0.0.1:0", Address(Scheme.GRPC, "127.0.0.1", 0)),
        ("grpc://[::1]:8002", Address(Scheme.GRPC, "::1", 8002)),
        ("grpc://[0:0:0:0:0:0:0:1]:8002", Address(Scheme.GRPC, "::1", 8002)),
        ("grpc://[fe80::1%eth0]:1", Address(Scheme.GRPC, "fe80::1%eth0", 1)),
        ("unix:///run/cell.sock", Address(Scheme.UNIX, name="/run/cell.sock")),
        ("unix:///a b/ü", Address(Scheme.UNIX, name="/a b/ü")),
        ("memory://hub", Address(Scheme.MEMORY, name="hub")),
        ("memory://", Address(Scheme.MEMORY)),
    ],
)
def test_an_address_is_read(url: str, address: Address) -> None:
    assert parse_address(url) == address
    assert parse_address(str(address)) == address


def test_host_names_know_no_case_and_may_have_a_slash_behind() -> None:
    assert str(parse_address("grpc://Hub.Example:80/")) == "grpc://hub.example:80"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "is not an address"),
        ("host:80", "is not an address"),
        ("http://host:80", "is not an address"),
        ("GRPC://host:80", "is not an address"),
        (None, "is not an address"),
        (b"grpc://host:80", "is not an address"),
        ("grpc://", "host and a port"),
        ("grpc://host", "host and a port"),
        ("grpc://:80", "host and a port"),
        ("grpc://host:", "host and a port"),
        ("grpc://host:port", "host and a port"),
        ("grpc://host:80/path", "host and a port"),
        ("grpc://host:80?x", "host and a port"),
        ("grpc://me@host:80", "only grpcs:// can have that"),
        ("grpcs://@host:80", "only grpcs:// can have that"),
        ("grpcs://a..b@host:80", "name of the cell that listens there"),
        ("grpcs://a@b@host:80", "host and a port"),
        ("grpc://ho st:80", "host and a port"),
        ("grpc://host:80\n", "host and a port"),
        ("grpc://::1:80", "host and a port"),
        ("grpc://[]:80", "host and a port"),
        ("grpc://host:65536", "ports end at"),
        ("grpc://1.2.3:80", "malformed IP"),
        ("grpc://1.2.3.256:80", "malformed IP"),
        ("grpc://[::g]:80", "malformed IP"),
        ("grpc://[127.0.0.1]:80", "in brackets"),
        ("unix://", "absolute path"),
        ("unix://relative", "absolute path"),
        ("unix:///directory/", "absolute path"),
        ("unix:///nul\0", "absolute path"),
        ("unix:///per%20cent", "absolute path"),
        ("memory://a/b", "name of letters"),
    ],
)
def test_what_is_not_an_address_is_a_usage_error(url: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_address(url)


@given(st.text(max_size=30), st.sampled_from(["", "grpc://", "unix:///", "memory://", "grpc://["]))
def test_any_text_is_an_address_or_a_usage_error(text: str, start: str) -> None:
    try:
        address = parse_address(start + text)
    except UsageError:
        return
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("grpc://127.0.0.1:80", True),
        ("grpc://127.9.9.9:80", True),
        ("grpc://[::1]:80", True),
        ("grpc://[::ffff:127.0.0.1]:80", True),
        ("grpc://localhost:80", True),
        ("grpc://LOCALHOST:80", True),
        ("unix:///run/cell", True),
        ("memory://hub", True),
        ("grpc://0.0.0.0:80", False),
        ("grpc://[::]:80", False),
        ("grpc://[::ffff:10.0.0.1]:80", False),
        ("grpc://10.0.0.1:80", False),
        ("grpc://localhost.example.org:80", False),
        ("grpc://hub:80", False),
    ],
)
def test_what_other_machines_cannot_reach_is_loopback(url: str, loopback: bool) -> None:
    assert parse_address(url).is_loopback is loopback


@pytest.mark.parametrize(
    ("peer", "origin"),
    [
        ("192.0.2.7:51234", "192.0.2.7"),
        ("127.0.0.1:51234", ""),
        ("127.9.9.9:51234", ""),
        ("[::1]:51234", ""),
        ("[2001:db8:1:2:3:4:5:6]:51234", "2001:db8:1:2::/64"),
        ("[fe80::1%eth0]:51234", "fe80::/64"),
        ("[::ffff:192.0.2.7]:51234", "192.0.2.7"),
        ("[::ffff:127.0.0.1]:51234", ""),
        ("a name:51234", "a name"),
        ("/run/cell.sock", ""),
        ("", ""),
    ],
)
def test_where_a_connection_comes_from(peer: str, origin: str) -> None:
    assert origin_of(peer) == origin
