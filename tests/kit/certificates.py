"""Certificates for tests: an authority of their own, and whatever an authority should not make."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from streamcell.security.authority import Authority, Issued, make_authority
from streamcell.security.certificates import load
from streamcell.security.settings import TLSConfig
from streamcell.transport.grpc.environment import grpc
from streamcell.transport.grpc.tls import server_credentials
from tests.kit.timing import scaled

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY = dt.timedelta(days=1)
HOST = "127.0.0.1"


class TestAuthority:
    """An authority, and the certificates that it has issued."""

    __test__ = False

    def __init__(self, name: str = "test authority", now: dt.datetime = NOW - 30 * DAY, days: int = 3650) -> None:
        made = make_authority(name, now, days)
        self.ca = made.certificate
        self.key = made.key
        self.authority = Authority(made.certificate, made.key)

    def issue(self, fqcn: str, *hosts: str, now: dt.datetime = NOW, days: int = 90) -> Issued:
        """The certificate of a cell, valid from ``now`` on."""
        return self.authority.issue(fqcn, now, hosts=hosts, days=days)

    def config(self, fqcn: str, *hosts: str, **settings: object) -> TLSConfig:
        """What a cell of that name needs, without files."""
        issued = self.issue(fqcn, *(hosts or ("localhost", "127.0.0.1", "::1")))
        given: dict[str, object] = {"ca": self.ca, "cert": issued.certificate, "key": issued.key, **settings}
        return TLSConfig(**given)  # type: ignore[arg-type]

    def files(self, folder: Path, fqcn: str, *hosts: str) -> TLSConfig:
        """The same in files."""
        issued = self.issue(fqcn, *(hosts or ("localhost", "127.0.0.1", "::1")))
        paths = {name: folder / f"{fqcn}.{name}" for name in ("ca", "cert", "key")}
        paths["ca"].write_bytes(self.ca)
        paths["cert"].write_bytes(issued.certificate)
        paths["key"].write_bytes(issued.key)
        return TLSConfig(ca=paths["ca"], cert=paths["cert"], key=paths["key"])


@contextlib.contextmanager
def listening(config: TLSConfig | None, *, require: bool = True) -> Iterator[int]:
    """A gRPC server, plain without a configuration; gives its port."""
    with ThreadPoolExecutor(1) as threads:
        server: Any = grpc.server(threads)
        if config is None:
            port = server.add_insecure_port(f"{HOST}:0")
        else:
            material = load(config)
            credentials = server_credentials(lambda: material, require_client_cert=require)
            port = server.add_secure_port(f"{HOST}:0", credentials)
        server.start()
        try:
            yield port
        finally:
            server.stop(None).wait(scaled(10))
