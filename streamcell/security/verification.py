"""Whether a certificate holds: signed by whom one believes, valid now, and for this use (RFC 5280, section 6)."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.x509 import verification

from streamcell.security.certificates import date_text, hosts_in

# Certificates between that of a cell and its authority.
_MOST_BETWEEN = 8


def fault_in_client(
    chain: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate], when: dt.datetime
) -> str:
    """Return why the certificate of a cell is not to be believed, as a part of a sentence; empty if it is.

    :param chain: the cell's own, and those that it has sent with it.
    """
    leaf, *between = chain
    early = _fault_in_time(leaf, when)
    if early:
        return early
    try:
        _policy(authorities, when).build_client_verifier().verify(leaf, between)
    except verification.VerificationError as error:
        return _put_into_words(chain, authorities, error)
    return ""


def fault_in_server(
    chain: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate], host: str, when: dt.datetime
) -> str:
    """Return why the certificate of who was dialled is not to be believed, as a part of a sentence; empty if it is.

    :param chain: its own, and those that it has sent with it.
    :param host: the DNS name or IP address that it is to be for (RFC 9525).
    """
    leaf, *between = chain
    early = _fault_in_time(leaf, when)
    if early:
        return early
    try:
        subject: x509.verification.Subject = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        subject = x509.DNSName(host)
    try:
        _policy(authorities, when).build_server_verifier(subject).verify(leaf, between)
    except verification.VerificationError as error:
        if subject not in _subjects(leaf):
            return f"it is for {', '.join(hosts_in(leaf)) or 'no host at all'}, and not for {host}"
        return _put_into_words(chain, authorities, error)
    return ""


def _policy(authorities: Sequence[x509.Certificate], when: dt.datetime) -> verification.PolicyBuilder:
    store = verification.Store(list(authorities))
    return verification.PolicyBuilder().store(store).time(when).max_chain_depth(_MOST_BETWEEN)


def _subjects(leaf: x509.Certificate) -> list[x509.verification.Subject]:
    """Return the hosts that a certificate is for; a wildcard counts as none, since only an exact name is looked for."""
    names: list[x509.verification.Subject] = []
    for host in hosts_in(leaf):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _fault_in_time(leaf: x509.Certificate, when: dt.datetime) -> str:
    if when > leaf.not_valid_after_utc:
        return f"it expired on {date_text(leaf.not_valid_after_utc)}: renew it, or set this machine's clock"
    if when < leaf.not_valid_before_utc:
        return f"it is not valid before {date_text(leaf.not_valid_before_utc)}: set this machine's clock"
    return ""


def _put_into_words(
    chain: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate], error: verification.VerificationError
) -> str:
    known = {authority.subject for authority in authorities}
    issuers = [certificate.issuer for certificate in chain]
    if not any(issuer in known for issuer in issuers):
        return (
            f"it was issued by {_name(issuers[-1])}, and believed are only {', '.join(sorted(map(_name, known)))}: "
            "give that authority as ca, or use a certificate of this one"
        )
    return f"it does not hold: {error}"


def _name(name: x509.Name) -> str:
    return f"'{name.rfc4514_string()}'" if name.rfc4514_string() else "an authority without a name"
