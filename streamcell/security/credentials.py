"""The certificates of one cell as they are now: what it shows, whom it believes, and what others have shown to it."""

from __future__ import annotations

import datetime as dt
import threading
from typing import TYPE_CHECKING

from streamcell.errors import AuthenticationError, UsageError
from streamcell.security.extra import check_extra
from streamcell.security.identity import Identity
from streamcell.security.settings import TLSConfig, describe
from streamcell.security.templates import host_of_cell

if TYPE_CHECKING:
    from streamcell.security.certificates import Material

# For so long a lane goes on when its other side's certificate has expired.
GRACE = dt.timedelta(seconds=30)


class Credentials:
    """What a cell has for TLS. May be used in any thread.

    :param config: what the application says.
    """

    def __init__(self, config: TLSConfig) -> None:
        self.config = config
        self._lock = threading.Lock()
        self._material: Material | None = None

    @property
    def material(self) -> Material:
        """What the files hold, as they were read last. The same object as long as nothing has changed.

        :raises AuthenticationError: if they cannot be read, and were not before.
        """
        material = self._material
        if material is None:
            self.reload()
            material = self._material
        if material is None:
            raise AuthenticationError("the certificates of this cell were not read")
        return material

    def reload(self) -> bool:
        """Read the files again; return whether there is something new. If they have faults, what was read before stays.

        :raises AuthenticationError: if a file cannot be read, is no such thing, or does not belong to another one, or
            if what it needs is not installed.
        """
        check_extra()
        from streamcell.security.certificates import load

        with self._lock:
            fresh = load(self.config)
            if fresh == self._material:
                return False
            self._material = fresh
            return True

    def check_can_listen(self, url: str) -> None:
        """Check that there is all that a listener needs.

        :raises UsageError: if not, with what is missing.
        """
        config = self.config
        if config.cert is None:
            raise UsageError(f"listening at {url} needs a certificate: give TLSConfig(cert=..., key=...)")
        if config.ca is None and config.require_client_cert:
            raise UsageError(
                f"listening at {url} needs the authority of those who dial: give TLSConfig(ca=...), or "
                "require_client_cert=False"
            )

    def check_is_for(self, fqcn: str) -> None:
        """Check that the certificate is not that of another cell.

        :raises AuthenticationError: if it is.
        """
        identity = self.material.identity
        if identity is not None and not identity.covers(fqcn) and self.config.cert is not None:
            raise AuthenticationError(
                f"the certificate in {describe(self.config.cert)} is that of {identity.name}, and this cell is {fqcn}"
            )

    def host_to_find(self, host: str, cell: str) -> str:
        """Return the name that the certificate of a listener is to be for.

        :param cell: the cell that is to listen there; empty: any that has the host's certificate.
        """
        return host_of_cell(cell) if cell else self.config.server_name or host

    def identify(self, shown: bytes, where: str) -> Identity:
        """Return what certificates prove that somebody has shown, in PEM.

        gRPC has believed them. They are held against the same rules as later on, so that nobody is let in who would be
        put out at the next look.

        :raises AuthenticationError: if they prove no name, or are not to be believed.
        """
        from streamcell.security.certificates import identity_of, read_certificates

        identity = identity_of(read_certificates(shown, where)[0], self.config.template, where)
        fault = self.fault_in(shown, dt.datetime.now(dt.UTC))
        if fault:
            raise AuthenticationError(f"the certificate of {where} is not to be believed: {fault}")
        return identity

    def fault_in(self, shown: bytes, now: dt.datetime) -> str:
        """Return why certificates that were believed are not any more, as a part of a sentence; empty if they are."""
        from streamcell.security.certificates import read_certificates
        from streamcell.security.verification import fault_in_client

        chain = read_certificates(shown, "the other side")
        until = chain[0].not_valid_after_utc
        # Who was let in is not put out in the moment in which a renewal may be on its way.
        when = min(now, until) if now < until + GRACE else now
        return fault_in_client(chain, self.material.authorities, when)
