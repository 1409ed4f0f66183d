"""One file on its way into an inbox: from its first byte, or from where it stood, to its name. Imports siblings.

The bytes go to a partial file in the work folder of the origin's folder. At the end the file is checked, given its
permissions and time, synced, and moved to its name, and both folders are synced; only then does the sender hear of
success. A transfer that has a ``resume_id`` leaves its partial file when it is interrupted in whatever way, and a
receipt when it is complete, so that one that is begun again goes on, or ends at once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from typing import Any, BinaryIO

from streamcell.daemon.conventions import FileHeaders
from streamcell.daemon.folder import Folder
from streamcell.daemon.names import WORK_FOLDER, safe_path
from streamcell.daemon.space import Claim, Space
from streamcell.errors import StreamIntegrityError, StreamResumeError
from streamcell.limits import MIB
from streamcell.stream import ReceivedStream

PART_SUFFIX = ".part"
RECEIPT_SUFFIX = ".done"
# Of a receipt: a name of many parts, and some numbers.
_RECEIPT_BYTES = 64 * 1024
# How often a file of unknown size looks how much room is left.
_CHECK_SPACE_BYTES = 16 * MIB
# Permissions of a file whose sender did not name any, before the umask.
_DEFAULT_MODE = 0o666


def transfer_key(stream: ReceivedStream, stream_id: int) -> str:
    """Return what the work files of a transfer are called: the same whenever the same transfer is begun again."""
    transfer = stream.resume_id or f"stream {stream_id}"
    kind = "named" if stream.resume_id else "unnamed"
    return hashlib.sha256(f"{kind}\0{stream.origin}\0{transfer}".encode()).hexdigest()[:32]


@dataclasses.dataclass(frozen=True, slots=True)
class Receipt:
    """Where a complete transfer has gone (or to that name with a number), and how to know its file again."""

    parts: tuple[str, ...]
    size_bytes: int
    mtime_ns: int
    inode: int

    @staticmethod
    def of(parts: tuple[str, ...], status: os.stat_result) -> Receipt:
        """Return the receipt for a file."""
        return Receipt(parts, status.st_size, status.st_mtime_ns, status.st_ino)

    def agrees(self, status: os.stat_result) -> bool:
        """Return whether a file is still the one that arrived."""
        return Receipt.of(self.parts, status) == self

    def to_bytes(self) -> bytes:
        """Return the receipt as it is kept."""
        return json.dumps(dataclasses.asdict(self)).encode()

    @staticmethod
    def from_bytes(data: bytes) -> Receipt | None:
        """Return the receipt that was kept; None if it cannot be read."""
        try:
            kept: Any = json.loads(data)
            return Receipt(tuple(kept["parts"]), kept["size_bytes"], kept["mtime_ns"], kept["inode"])
        except (ValueError, KeyError, TypeError):
            return None


@dataclasses.dataclass(frozen=True, slots=True)
class Manner:
    """How files arrive in an inbox.

    Attributes:
        replace: a file that exists is replaced instead of the new one being numbered.
        umask: permissions that files do not get, whatever their senders say.
    """

    replace: bool
    umask: int


class Arrival:
    """Receives one file; see :meth:`receive`.

    Args:
        stream: what arrives. Nothing of it was read.
        key: what its work files are called; nobody else uses it at the same time.
        origin_folder: the folder for files of this origin.
        space: the room that there is.
        manner: how it arrives.

    Raises:
        StreamRejected: the headers or the name are not acceptable.
    """

    def __init__(self, stream: ReceivedStream, key: str, origin_folder: Folder, space: Space, manner: Manner) -> None:
        self._stream = stream
        self._headers = FileHeaders.from_headers(stream.headers)
        self._parts = safe_path(self._headers.name)
        self._part_name = key + PART_SUFFIX
        self._receipt_name = key + RECEIPT_SUFFIX
        self._origin_folder = origin_folder
        self._space = space
        self._manner = manner

    def receive(self) -> tuple[str, ...]:
        """Receive the file to its end; return the parts of its path below the origin's folder.

        Raises:
            CellError: the stream failed, or the file is refused.
            OSError: it cannot be written.
        """
        with self._origin_folder.enter((WORK_FOLDER,), make=True, mode=0o700) as work:
            known = self._already_here(work)
            if known is not None:
                return known
            try:
                return self._receive_into(work)
            except BaseException as error:
                if not self._stream.resume_id or isinstance(error, StreamIntegrityError):
                    work.remove(self._part_name)
                raise

    def _already_here(self, work: Folder) -> tuple[str, ...] | None:
        """Return where the file is, if it arrived before and its sender agrees that it is the same."""
        receipt = self._read_receipt(work)
        if receipt is None:
            return None
        parts = self._agreed_place(receipt)
        if parts is None:
            work.remove(self._receipt_name)
        elif self._stream.read(1):
            # Nothing is left to come but the end.
            raise StreamIntegrityError(f"{self._stream.origin} sent more than the file that it agreed to")
        return parts

    def _agreed_place(self, receipt: Receipt) -> tuple[str, ...] | None:
        """Return where the file of a receipt is, if the sender agrees that nothing is missing in it."""
        *folders, name = receipt.parts
        try:
            with self._origin_folder.enter(folders) as folder:
                found = folder.find_numbered(name, receipt.agrees)
                if found is None:
                    return None
                with os.fdopen(folder.open_file(found, os.O_RDONLY), "rb") as file:
                    return (*folders, found) if self._go_on_at(receipt.size_bytes, file) else None
        except OSError:
            return None

    def _read_receipt(self, work: Folder) -> Receipt | None:
        if not self._stream.resume_id:
            return None
        try:
            with os.fdopen(work.open_file(self._receipt_name, os.O_RDONLY), "rb") as file:
                return Receipt.from_bytes(file.read(_RECEIPT_BYTES))
        except OSError:
            return None

    def _receive_into(self, work: Folder) -> tuple[str, ...]:
        descriptor = work.open_file(self._part_name, os.O_RDWR | os.O_CREAT)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            offset = self._begin(file)
            with self._space.claim(max(0, self._stream.get_size() - offset), work.free_bytes()) as claim:
                size = self._write(work, file, offset, claim)
            if os.fstat(descriptor).st_size != size:
                raise StreamIntegrityError(f"the partial file has not the {size:,} bytes that were written to it")
            self._finish(descriptor)
            if self._stream.resume_id:
                # Before it is moved, so that it is never received twice, wherever this process ends.
                self._write_receipt(work, Receipt.of(self._parts, os.fstat(descriptor)))
        return self._publish(work)

    def _begin(self, file: BinaryIO) -> int:
        """Go on where the partial file stands, if the sender agrees; return from where the bytes come."""
        have = os.fstat(file.fileno()).st_size
        declared = self._stream.get_size()
        if have and not (declared and have > declared):
            file.seek(0)
            if self._go_on_at(have, file):
                file.seek(have)
                return have
        file.seek(0)
        file.truncate()
        return 0

    def _go_on_at(self, offset: int, file: BinaryIO) -> bool:
        """Return whether the sender goes on at ``offset``, because what lies before is the same in ``file``."""
        try:
            self._stream.resume_from(offset, have=file)
        except StreamResumeError:
            return False
        return True

    def _write(self, work: Folder, file: BinaryIO, offset: int, claim: Claim) -> int:
        unchecked = 0
        for piece in self._stream.pieces():
            view = memoryview(piece)
            while view:
                view = view[file.write(view) :]
            offset += len(piece)
            claim.use(len(piece))
            unchecked += len(piece)
            if not self._stream.get_size() and unchecked >= _CHECK_SPACE_BYTES:
                unchecked = 0
                self._space.check(work.free_bytes(), 0)
        return offset

    def _finish(self, descriptor: int) -> None:
        mode = _DEFAULT_MODE if self._headers.mode is None else self._headers.mode
        os.fchmod(descriptor, mode & ~self._manner.umask)
        if self._headers.mtime_ns is not None:
            os.utime(descriptor, ns=(self._headers.mtime_ns, self._headers.mtime_ns))
        os.fsync(descriptor)

    def _publish(self, work: Folder) -> tuple[str, ...]:
        *folders, name = self._parts
        with self._origin_folder.enter(folders, make=True) as folder:
            if self._manner.replace:
                work.replace(self._part_name, folder, name)
            else:
                name = work.move_to_free_name(self._part_name, folder, name)
            folder.sync()
        work.sync()
        return (*folders, name)

    def _write_receipt(self, work: Folder, receipt: Receipt) -> None:
        work.remove(self._receipt_name)
        with os.fdopen(work.open_file(self._receipt_name, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            file.write(receipt.to_bytes())
