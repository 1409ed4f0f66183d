"""What an application says about TLS: values, checked when they are made. Files are read when the cell starts."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import TypeAlias

from streamcell.errors import UsageError
from streamcell.security.templates import DEFAULT_TEMPLATE, IdentityTemplate

# A file, by its path, or what would be in it.
Pem: TypeAlias = str | os.PathLike[str] | bytes

_MARK = b"-----BEGIN "


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TLSConfig:
    """How a cell proves who it is, and whom it believes, at ``grpcs://`` addresses. Needs the extra ``tls``.

    Files are paths, or ``bytes`` in PEM (RFC 7468). They are read when the cell starts, and looked at again every
    ``check_interval_s``: a certificate that was renewed counts from the next connection on, and nothing breaks off.

    Attributes:
        ca: the certificates of the authorities that are believed, one or several. None: a cell that dials believes
            those that the system does; one that listens needs them, unless ``require_client_cert`` is False.
        cert: this cell's certificate, followed by those between it and the authority, if there are any.
        key: its key, not encrypted: EC P-256 or P-384, or RSA of at least 2048 bits.
        require_client_cert: whether who dials this cell needs a certificate, too.
        server_name: the host name that is looked for in the certificate of who is dialled, in place of that in the URL.
        identity: the URI in a certificate that stands for a cell's name (RFC 5280, section 4.2.1.6), as a template:
            ``streamcell:{fqcn}``, or for SPIFFE ``spiffe://example.org/{fqcn}``.
        check_interval_s: seconds between two looks at the files.

    :raises UsageError: when made with what contradicts itself.
    """

    ca: Pem | None = None
    cert: Pem | None = None
    key: Pem | None = dataclasses.field(default=None, repr=False)
    require_client_cert: bool = True
    server_name: str | None = None
    identity: str = DEFAULT_TEMPLATE
    check_interval_s: float = 10.0

    def __post_init__(self) -> None:
        for what, pem in (("ca", self.ca), ("cert", self.cert), ("key", self.key)):
            _check_pem(what, pem)
        if (self.cert is None) != (self.key is None):
            given, missing = ("cert", "key") if self.key is None else ("key", "cert")
            raise UsageError(f"{given} is given and {missing} is not: a certificate and its key belong together")
        name: object = self.server_name
        if name is not None and not (isinstance(name, str) and name):
            raise UsageError(f"server_name must be a host name, not {name!r:.100}")
        wants: object = self.require_client_cert
        if not isinstance(wants, bool):
            raise UsageError(f"require_client_cert must be True or False, not {wants!r:.100}")
        interval: object = self.check_interval_s
        if isinstance(interval, bool) or not isinstance(interval, int | float) or not 0 < interval < math.inf:
            raise UsageError(f"check_interval_s must be a number of seconds above 0, not {interval!r:.100}")
        IdentityTemplate(self.identity)

    @property
    def template(self) -> IdentityTemplate:
        """The identity's template."""
        return IdentityTemplate(self.identity)


def describe(pem: Pem) -> str:
    """Return what to call a file, or what was given in its place, in a sentence."""
    return "the PEM that was given" if isinstance(pem, bytes) else os.fspath(pem)


def _check_pem(name: str, pem: object) -> None:
    if pem is None or (isinstance(pem, str | os.PathLike) and os.fspath(pem)):
        return
    if isinstance(pem, bytes) and _MARK in pem:
        return
    if isinstance(pem, bytes):
        raise UsageError(f"{name} was given as bytes that are no PEM: a path is a str")
    raise UsageError(f"{name} must be a path, or PEM as bytes, not {type(pem).__name__}")
