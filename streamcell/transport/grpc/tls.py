"""What gRPC needs to know of certificates, and what it tells of them.

gRPC's TLS checks the chain, and DNS names and IP addresses. It has no way to check anything else while shaking hands,
and it never looks again: what is renewed counts from the next handshake on, and what is revoked has to be closed from
here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from streamcell.transport.grpc.environment import grpc

if TYPE_CHECKING:
    from streamcell.security.certificates import Material

# Under which name auth_context() has what the other side has shown.
_LEAF = "x509_pem_cert"
_CHAIN = "x509_pem_cert_chain"


def channel_credentials(material: Material) -> grpc.ChannelCredentials:
    """Return what a dialler believes and shows."""
    from streamcell.security.probe import system_authorities

    return grpc.ssl_channel_credentials(
        root_certificates=material.ca_pem or system_authorities(),
        private_key=material.key_pem or None,
        certificate_chain=material.chain_pem or None,
    )


def server_credentials(current: Callable[[], Material], *, require_client_cert: bool) -> grpc.ServerCredentials:
    """Return what a listener shows and believes: at each handshake what ``current`` returns then.

    :param current: is called by threads of gRPC, and returns the same object as long as nothing has changed.
    """
    shown = current()

    # None says that nothing has changed, which the types of grpcio do not know.
    def fetch() -> Any:
        nonlocal shown
        now = current()
        if now is shown:
            return None
        shown = now
        return _configuration(now)

    return grpc.dynamic_ssl_server_credentials(_configuration(shown), fetch, require_client_cert)


def certificates_of(auth_context: Mapping[str, Iterable[bytes]]) -> bytes:
    """Return, in PEM, the certificates that whoever has dialled has shown, its own first; empty if it has not."""
    leaf, chain = (b"".join(auth_context.get(name, ())) for name in (_LEAF, _CHAIN))
    # A listener is given those behind the leaf, as BoringSSL has them there; elsewhere the chain begins with it.
    return chain if chain.startswith(leaf) else leaf + chain


def _configuration(material: Material) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(material.key_pem, material.chain_pem)], root_certificates=material.ca_pem or None
    )
