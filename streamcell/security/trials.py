"""Why two cells will not connect: each thing that is wrong, as a sentence."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from streamcell.errors import AuthenticationError
from streamcell.security.certificates import date_text, identity_of, load, read, read_certificates
from streamcell.security.probe import probe
from streamcell.security.settings import TLSConfig
from streamcell.security.templates import IdentityTemplate
from streamcell.security.verification import fault_in_client

# Certificates that end sooner are worth a word.
_SOON = dt.timedelta(days=7)


def try_files(cert: Path, key: Path, ca: Path, template: str, when: dt.datetime) -> list[str]:
    """Return what is wrong with a cell's files, by themselves and together."""
    try:
        material = load(TLSConfig(ca=ca, cert=cert, key=key, identity=template))
    except AuthenticationError as error:
        return [error.sentence]
    faults = []
    fault = fault_in_client(material.chain, material.authorities, when)
    if fault:
        faults.append(f"{cert}: {fault}")
    if material.identity is None:
        try:
            identity_of(material.chain[0], IdentityTemplate(template), str(cert))
        except AuthenticationError as error:
            faults.append(error.sentence)
    until = material.chain[0].not_valid_after_utc
    if when <= until < when + _SOON:
        faults.append(f"{cert}: it expires on {date_text(until)}: renew it")
    for authority in read_certificates(read(ca), str(ca)):
        if authority.not_valid_after_utc < when:
            name = authority.subject.rfc4514_string()
            faults.append(f"{ca}: the authority '{name}' expired on {date_text(authority.not_valid_after_utc)}")
    if key.stat().st_mode & 0o077:
        faults.append(f"{key}: others may read it: 'chmod 600 {key}'")
    return faults


def try_listener(url: str, host: str, port: int, name: str, config: TLSConfig, timeout_s: float) -> list[str]:
    """Return what is wrong with who listens at ``url``, as a cell with these files sees it. Blocks.

    :param name: the host that its certificate is to be for.
    """
    try:
        material = load(config)
    except AuthenticationError:
        return []
    finding = probe(host, port, material, name, timeout_s)
    return [f"{url} {finding.fault}"] if finding.fault else []
