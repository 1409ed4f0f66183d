"""Addresses as those who run cells give them, on the command line or in a file."""

from __future__ import annotations

from collections.abc import Iterable

from streamcell.errors import UsageError
from streamcell.transport.address import Address, Scheme, check_can_be_dialled, parse_address


def check_dialled(urls: Iterable[str], what: str = "connect") -> None:
    """Check where other cells are to be dialled.

    Raises:
        UsageError: a URL is none, or nothing can be dialled there; ``what`` is wrong.
    """
    for url in urls:
        address = _parse(url, what)
        try:
            check_can_be_dialled(address)
        except UsageError as error:
            raise UsageError(f"{what}: {error}") from None


def check_listened(urls: Iterable[str], *, insecure: bool, has_certificate: bool, what: str = "listen") -> None:
    """Check where a cell is to listen. ``insecure``: though other machines can reach it, and nothing is encrypted.

    Raises:
        UsageError: a URL is none, or must not be listened at; ``what`` is wrong.
    """
    for url in urls:
        address = _parse(url, what)
        if address.scheme is Scheme.GRPCS and not has_certificate:
            raise UsageError(
                f"{what}: {address} needs a certificate: give --ca, --cert and --key, or [tls] in the configuration"
            )
        if not (insecure or address.is_loopback or address.scheme is Scheme.GRPCS):
            raise UsageError(
                f"{what}: {address} can be reached from other machines and is not encrypted: use grpcs:// with "
                "certificates, or allow that with --insecure, or insecure = true in the configuration, on a network "
                "that you trust"
            )


def _parse(url: str, what: str) -> Address:
    try:
        address = parse_address(url)
    except UsageError as error:
        raise UsageError(f"{what}: {error}") from None
    if address.scheme is Scheme.MEMORY:
        raise UsageError(f"{what}: {url} is not on a network: use grpc://host:port or unix:///path")
    return address
