"""Whether what this room needs is installed."""

from __future__ import annotations

import importlib.util

from streamcell.errors import AuthenticationError

_PACKAGES = ("cryptography", "OpenSSL")


def check_extra() -> None:
    """Check that the packages of the extra ``tls`` are there.

    :raises AuthenticationError: if one is not, with the line that installs them.
    """
    for package in _PACKAGES:
        try:
            found = importlib.util.find_spec(package) is not None
        except ValueError:
            found = False
        if not found:
            raise AuthenticationError(
                "certificates and TLS need the packages of the extra 'tls': pip install 'streamcell[tls]'"
            )
