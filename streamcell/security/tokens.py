"""Tokens: what a cell may show instead of a certificate, or beside it, and the file that says whose they are.

A token is a secret that stands for a name (RFC 6750). Its bearer is believed, whoever it is, so it travels over TLS, or
within one machine, and no further than to the cell that is dialled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from streamcell.errors import AuthenticationError, UsageError
from streamcell.fqcn import is_fqcn

# RFC 6750, section 2.1.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
# Metadata of a call has 16 KiB in all.
MOST_CHARACTERS = 8192
_LINE = re.compile(r"(\S+)[ \t]+sha256:([0-9a-fA-F]{64})", re.ASCII)
# Before the digest in a proof of this kind.
_PROOF = b"token sha256:"


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    """What a cell that dials has shown.

    Attributes:
        token: the token; it is in no ``repr``.
        fqcn: the name that the cell says is its own, which is not proved; empty if it does not say.
        address: where it comes from.
    """

    token: str = dataclasses.field(repr=False)
    fqcn: str
    address: str


Authenticate: TypeAlias = Callable[[Credentials], object]
Token: TypeAlias = str | Callable[[], object]


def check_token(token: object) -> str:
    """Return ``token``, if it can be one.

    Raises:
        UsageError: it cannot. The token itself is not named.
    """
    if not isinstance(token, str):
        raise UsageError(f"a token must be a str, not {type(token).__name__}")
    if len(token) > MOST_CHARACTERS:
        raise UsageError(f"a token has {len(token)} characters, and at most {MOST_CHARACTERS} are possible")
    if _TOKEN.fullmatch(token) is None:
        raise UsageError(
            "a token consists of letters, digits and -._~+/ with = at its end (RFC 6750): encode another one in Base64"
        )
    return token


def token_from_file(path: str | os.PathLike[str]) -> Callable[[], str]:
    """Return a function that reads the token in a file, anew for each connection: what ``CoreCell(token=)`` takes.

    The function raises AuthenticationError if the file cannot be read or holds no token. White space around it does not
    count.
    """

    def read() -> str:
        try:
            return check_token(Path(path).read_text(encoding="ascii").strip())
        except OSError as error:
            raise AuthenticationError(f"the token in {os.fspath(path)} cannot be read: {error.strerror}") from error
        except (UnicodeDecodeError, UsageError) as error:
            reason = error.sentence if isinstance(error, UsageError) else "it is no text in ASCII"
            raise AuthenticationError(f"{os.fspath(path)} holds no token: {reason}") from error

    return read


class TokenFile:
    """The cells that a file names, each with the digest of its token: what ``CoreCell(authenticate=)`` takes.

    May be used in any thread. Made by :func:`tokens_from_file`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._names: dict[bytes, str] = {}
        self.reload()

    def __repr__(self) -> str:
        return f"<TokenFile {self._path}: {len(self._names)} tokens>"

    def __call__(self, shown: Credentials) -> str:
        """Return the name that a token stands for.

        Raises:
            AuthenticationError: none.
        """
        name = self._find(digest_of(shown.token))
        if name is None:
            raise AuthenticationError("its token is not known here")
        return name

    def reload(self) -> bool:
        """Read the file again; return whether there is something new. If it has faults, what was read before stays.

        Raises:
            AuthenticationError: it cannot be read, others may read or change it, or a line is wrong.
        """
        fresh = self._read()
        with self._lock:
            changed = fresh != self._names
            self._names = fresh
        return changed

    def fault_in(self, proof: bytes) -> str:
        """Return why a token that was believed is not any more, as a part of a sentence; empty if it is."""
        known = self._find(proof.removeprefix(_PROOF).decode("ascii", "replace"))
        return "" if known is not None else f"it is not in {self._path} any more"

    def _find(self, digest: str) -> str | None:
        shown, found = digest.encode("ascii", "replace"), None
        # All of them, so that the time that it takes says nothing about how much was right.
        for known, name in self._names.items():
            if hmac.compare_digest(known, shown):
                found = name
        return found

    def _read(self) -> dict[bytes, str]:
        try:
            with self._path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = file.read().decode()
        except OSError as error:
            raise AuthenticationError(f"the tokens in {self._path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise AuthenticationError(f"{self._path} is no text in UTF-8: {error.reason}") from error
        if mode & 0o077:
            raise AuthenticationError(
                f"{self._path} can be read or changed by others (mode {mode & 0o777:o}): chmod 600 {self._path}"
            )
        names: dict[bytes, str] = {}
        for number, line in enumerate(text.splitlines(), 1):
            content = line.partition("#")[0].strip()
            if content:
                digest, name = self._parse(content, number)
                if names.setdefault(digest, name) != name:
                    raise AuthenticationError(
                        f"{self._path}, line {number}: the token of {name} is that of {names[digest]}, too"
                    )
        return names

    def _parse(self, content: str, number: int) -> tuple[bytes, str]:
        match = _LINE.fullmatch(content)
        if match is None:
            raise AuthenticationError(
                f"{self._path}, line {number}: it must be a name and the digest of its token, FQCN sha256:HEX"
            )
        if not is_fqcn(match[1]):
            raise AuthenticationError(f"{self._path}, line {number}: {match[1]!r:.100} is no name of a cell")
        return match[2].lower().encode(), match[1]


def tokens_from_file(path: str | os.PathLike[str]) -> TokenFile:
    """Return a check of tokens by a file with lines ``FQCN sha256:HEX``, the SHA-256 of each token in hexadecimal.

    Empty lines, and what stands behind ``#``, do not count. A name may have several tokens. Nobody but its owner may
    read the file (mode 600). It is read again with certificates and policy, and connections whose tokens are not in it
    any more end.

    Raises:
        AuthenticationError: the file cannot be read, others may read it, or a line is wrong.
    """
    return TokenFile(path)


def digest_of(token: str) -> str:
    """Return the SHA-256 of a token in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


def proof_of(token: str) -> bytes:
    """Return what proves, later on, which token was shown; not the token."""
    return _PROOF + digest_of(token).encode()


def is_token_proof(proof: bytes) -> bool:
    """Return whether a proof is one of a token."""
    return proof.startswith(_PROOF)
