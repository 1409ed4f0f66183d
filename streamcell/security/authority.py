"""A small certificate authority: what ``streamcell certs`` makes.

ECDSA with P-256 throughout; an authority signs certificates of cells and nothing else (``pathlen:0``). A cell's
certificate has an empty subject; what it stands for are its alternative names (RFC 5280, section 4.1.2.6): the cell's
URI, the host by which gRPC checks a cell (:func:`host_of_cell`), and the hosts that were asked for.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from streamcell.errors import AuthenticationError, UsageError
from streamcell.fqcn import check_fqcn
from streamcell.security.certificates import (
    CellPublicKey,
    cell_key_of,
    check_belong_together,
    read_certificates,
    read_key,
)
from streamcell.security.templates import DEFAULT_TEMPLATE, PLACE, IdentityTemplate, host_of_cell, is_wildcard_of_cells

# Clocks differ: a certificate counts from a little before it was made.
_BEFORE = dt.timedelta(minutes=5)
_DAYS_MOST = 36_500


@dataclasses.dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, both in PEM."""

    certificate: bytes
    key: bytes = dataclasses.field(repr=False)


class Authority:
    """An authority that can sign.

    :raises AuthenticationError: if the certificate is no authority's, or the key is not its.
    """

    def __init__(
        self, certificate_pem: bytes, key_pem: bytes, *, where: str = "ca.pem", key_where: str = "ca.key"
    ) -> None:
        self._certificate = read_certificates(certificate_pem, where)[0]
        key = read_key(key_pem, key_where)
        check_belong_together(self._certificate, key, where, key_where)
        if not _may_sign(self._certificate):
            raise AuthenticationError(
                f"the certificate in {where} is no authority's: make one with 'streamcell certs init'"
            )
        self._key = key

    @property
    def certificate(self) -> x509.Certificate:
        """The authority's own certificate."""
        return self._certificate

    def issue(
        self,
        fqcn: str,
        now: dt.datetime,
        *,
        hosts: Sequence[str] = (),
        days: int = 90,
        template: IdentityTemplate | None = None,
    ) -> Issued:
        """Make a key for a cell, and its certificate.

        :param hosts: DNS names and IP addresses under which the cell is dialled.
        :raises UsageError: if one of them cannot be, or the cell's name, or the days.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        uri = (template or IdentityTemplate(DEFAULT_TEMPLATE)).uri_of(check_fqcn(fqcn))
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri), x509.DNSName(host_of_cell(fqcn))]
        names += [general_name(host) for host in dict.fromkeys(hosts)]
        certificate = self._sign(key.public_key(), x509.SubjectAlternativeName(names), now, days)
        return Issued(certificate, key_pem(key))

    def renew(self, certificate: x509.Certificate, now: dt.datetime, days: int = 90) -> bytes:
        """Return a new certificate, in PEM, for the same key and the same names.

        :raises AuthenticationError: if the old one has no alternative names, so that it was of no cell.
        """
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            raise AuthenticationError("the certificate names no cell, so that there is nothing to renew") from None
        return self._sign(cell_key_of(certificate), names, now, days)

    def _sign(
        self,
        public_key: CellPublicKey,
        names: x509.SubjectAlternativeName,
        now: dt.datetime,
        days: int,
    ) -> bytes:
        until = now + _days(days)
        if until > self._certificate.not_valid_after_utc:
            # What outlives who has signed it would stop to hold before it says.
            until = self._certificate.not_valid_after_utc
        if until <= now:
            raise AuthenticationError(
                "the authority's certificate has expired: make a new one, and issue all others anew"
            )
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(now - _BEFORE, self._certificate.not_valid_before_utc))
            .not_valid_after(until)
            .add_extension(names, critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(_authority_key(self._certificate), critical=False)
        )
        return pem_of(builder.sign(self._key, hashes.SHA256()))


def make_authority(name: str, now: dt.datetime, days: int = 3650) -> Issued:
    """Make an authority: its certificate and its key.

    :param name: what it is called in certificates, for people.
    :raises UsageError: if it cannot be called so, or not last so long.
    """
    if not name or len(name) > 64 or not name.isprintable():
        raise UsageError(f"an authority's name has 1 to 64 printable characters, not {name!r:.100}")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + _days(days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Issued(pem_of(builder.sign(key, hashes.SHA256())), key_pem(key))


def spiffe_template(domain: str) -> IdentityTemplate:
    """Return the template of a SPIFFE trust domain (SPIFFE-ID, section 2.1).

    :raises UsageError: if it is no trust domain.
    """
    if not domain or len(domain) > 255 or set(domain) - set("abcdefghijklmnopqrstuvwxyz0123456789.-_"):
        raise UsageError(f"a SPIFFE trust domain has lower-case letters, digits, '.', '-' and '_', not {domain!r:.100}")
    return IdentityTemplate(f"spiffe://{domain}/{PLACE}")


def general_name(host: str) -> x509.GeneralName:
    """Return a host as it stands among alternative names.

    :raises UsageError: if it is neither a DNS name nor an IP address, or would pass for every cell.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    parts = host.removeprefix("*.").split(".")
    if len(host) > 253 or not all(_is_label(part) for part in parts) or is_wildcard_of_cells(host):
        raise UsageError(f"{host!r:.100} is neither a host name in ASCII nor an IP address that a certificate may have")
    return x509.DNSName(host)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a key in PEM, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def pem_of(certificate: x509.Certificate) -> bytes:
    """Return a certificate in PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _is_label(part: str) -> bool:
    return 0 < len(part) <= 63 and part.isascii() and part.replace("-", "a").replace("_", "a").isalnum()


def _days(days: int) -> dt.timedelta:
    if not 0 < days <= _DAYS_MOST:
        raise UsageError(f"days must be a number from 1 to {_DAYS_MOST}, not {days!r:.50}")
    return dt.timedelta(days=days)


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _authority_key(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        subject_key = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(cell_key_of(authority))
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key)


def _key_usage(*, digital_signature: bool = False, signs: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
