"""One file on its way into an inbox: from its first byte, or from where it stood, to its name.

The bytes go to a partial file in the work folder of the origin's folder. At the end the file is checked, given its
permissions and time, synced, and given its name, and both folders are synced; only then does the sender hear of
success. The name is the point of no return: what fails before it fails for the sender, too, and leaves no file under
the name; nothing after it can make a failure of it.

A transfer that has a ``resume_id`` leaves its partial file when it is interrupted in whatever way, and a receipt when
it is complete. One that is begun again goes on where the partial file ends; it ends at once if the receipt's file is
what the sender has; and if that is the beginning of it, as of a log that has grown, only the rest travels.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import logging
import os
import stat
from typing import BinaryIO, cast

from streamcell.daemon.admission import Admission
from streamcell.daemon.conventions import FileHeaders
from streamcell.daemon.file_system import FileSystem, Lack
from streamcell.daemon.folder import Folder, Taken
from streamcell.daemon.names import WORK_FOLDER, safe_path
from streamcell.daemon.quota import Quota, Share
from streamcell.daemon.receipts import RECEIPT_SUFFIX, Kept, Prefix, Receipt, write_all
from streamcell.daemon.space import Claim, Space
from streamcell.errors import StreamIntegrityError, StreamResumeError
from streamcell.limits import MIB
from streamcell.stream import ReceivedStream

_logger = logging.getLogger("streamcell.daemon")

PART_SUFFIX = ".part"
# How often a file of unknown size looks how much room is left.
_CHECK_SPACE_BYTES = 16 * MIB
# Permissions of a file whose sender did not name any, before the umask.
_DEFAULT_MODE = 0o666


def transfer_key(stream: ReceivedStream, stream_id: int) -> str:
    """Return what the work files of a transfer are called: the same whenever the same transfer is begun again.

    What has come sealed is gone on with by what comes sealed, and by nothing else.
    """
    transfer = stream.resume_id or f"stream {stream_id}"
    kind = ("sealed " if stream.sealed else "") + ("named" if stream.resume_id else "unnamed")
    return hashlib.sha256(f"{kind}\0{stream.origin}\0{transfer}".encode()).hexdigest()[:32]


@dataclasses.dataclass(frozen=True, slots=True)
class Manner:
    """How files arrive in an inbox.

    Attributes:
        replace: a file that exists is replaced instead of the new one being numbered.
        umask: permissions that files do not get, whatever their senders say.
        file_system: where.
        space: the room that there is.
        quota: what each origin may have of it.
        admission: says until when a file may be given its name.
    """

    replace: bool
    umask: int
    file_system: FileSystem
    space: Space
    quota: Quota
    admission: Admission


class Arrival:
    """Receives one file; see :meth:`receive`.

    Args:
        stream: what arrives. Nothing of it was read.
        key: what its work files are called; nobody else uses it at the same time.
        origin_folder: the folder for files of this origin.
        manner: how it arrives.

    Raises:
        StreamRejected: the headers or the name are not acceptable.
    """

    def __init__(self, stream: ReceivedStream, key: str, origin_folder: Folder, manner: Manner) -> None:
        self._stream = stream
        self._headers = FileHeaders.from_headers(stream.headers)
        self._parts = safe_path(self._headers.name)
        self._part_name = key + PART_SUFFIX
        self._receipt_name = key + RECEIPT_SUFFIX
        self._origin_folder = origin_folder
        self._manner = manner
        # Folders that are to be made.
        self._missing = 0

    def receive(self) -> tuple[str, ...]:
        """Receive the file to its end, and tell its sender; return the parts of its path below the origin's folder.

        Raises:
            CellError: the stream failed, or the file is refused.
            OSError: it cannot be written.
        """
        with self._origin_folder.enter((WORK_FOLDER,), make=True, mode=0o700) as work:
            self._check_way(work)
            self._forget_named(work)
            with self._find_kept(work) as kept:
                try:
                    if kept is not None and self._is_whole(work, kept):
                        return self._end_with(kept)
                    return self._receive_into(work, kept)
                except BaseException as error:
                    if not self._stream.resume_id or isinstance(error, StreamIntegrityError):
                        with contextlib.suppress(OSError):
                            work.remove(self._part_name)
                    raise

    # --- before the first byte

    def _check_way(self, work: Folder) -> None:
        """Refuse now what could not be given its name in the end."""
        *folders, name = self._parts
        os.fsencode(name)
        self._missing = self._origin_folder.check_way(folders, work)
        if not self._manner.replace:
            return
        with contextlib.suppress(FileNotFoundError), self._origin_folder.enter(folders) as folder:
            there = folder.stat(name)
            if there is not None and stat.S_ISDIR(there.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)

    def _forget_named(self, work: Folder) -> None:
        """Let go of a partial file that has its name already, because a process ended between the two.

        Whoever wrote to it would write to the file that has arrived.
        """
        there = work.stat(self._part_name)
        if there is None or there.st_nlink <= 1:
            return
        if self._stream.resume_id:
            Receipt.of(self._parts, there).write(work, self._receipt_name)
        work.remove(self._part_name)

    def _find_kept(self, work: Folder) -> contextlib.AbstractContextManager[Kept | None]:
        """Return the file that this transfer has brought before, if it is still there as it came."""
        receipt = Receipt.read(work, self._receipt_name) if self._stream.resume_id else None
        kept = receipt.find(self._origin_folder) if receipt is not None else None
        return kept if kept is not None else contextlib.nullcontext()

    def _is_whole(self, work: Folder, kept: Kept) -> bool:
        """Return whether the sender agrees that nothing is missing in a file: of that length, and the same."""
        declared = self._stream.get_size()
        if not declared or declared != kept.size_bytes:
            return False
        if self._go_on_at(declared, Prefix(kept.file)):
            return True
        # The sender has another file by now: what is begun of that is what it goes on from.
        work.remove(self._receipt_name)
        return False

    def _end_with(self, kept: Kept) -> tuple[str, ...]:
        """Be done with the file that is there."""
        for _ in self._stream.pieces():
            # Nothing is left to come but the end, which the core sees to.
            pass
        self._stream.close()
        return kept.parts

    # --- the bytes

    def _receive_into(self, work: Folder, kept: Kept | None) -> tuple[str, ...]:
        if work.stat(self._part_name) is None:
            self._manner.quota.begin_files(self._stream.origin, self._origin_folder, 1 + self._missing)
        descriptor = self._open_part(work)
        with os.fdopen(descriptor, "r+b", buffering=0) as opened:
            file = cast("BinaryIO", opened)
            have, declared = os.fstat(descriptor).st_size, self._stream.get_size()
            copied = kept if kept is not None and self._is_beginning(kept, have) else None
            most = declared if copied is None else max(declared, copied.size_bytes)
            need = max(0, most - have)
            with (
                self._manner.quota.claim(self._stream.origin, self._origin_folder, need) as share,
                self._manner.space.claim(need, work.free_bytes()) as claim,
            ):
                offset = self._begin(work, file, have, copied, claim)
                claim.need(declared - offset)
                size = self._write(work, file, offset, claim, share)
            if kept is not None and not declared and size == offset == kept.size_bytes:
                # Its sender did not know how long it is: as long as it was.
                work.remove(self._part_name)
                return self._end_with(kept)
            if os.fstat(descriptor).st_size != size:
                raise StreamIntegrityError(f"the partial file has not the {size:,} bytes that were written to it")
            self._finish(descriptor)
            if self._stream.resume_id:
                # Before it has its name, so that it is never received twice, wherever this process ends.
                Receipt.of(self._parts, os.fstat(descriptor)).write(work, self._receipt_name)
        return self._publish(work)

    def _open_part(self, work: Folder) -> int:
        try:
            return work.open_file(self._part_name, os.O_RDWR | os.O_CREAT)
        except PermissionError:
            # Complete but for its name it has the sender's permissions, which may forbid to write to it.
            work.remove(self._part_name)
            return work.open_file(self._part_name, os.O_RDWR | os.O_CREAT | os.O_EXCL)

    def _is_beginning(self, kept: Kept, have: int) -> bool:
        """Return whether a file that has arrived may be the beginning of this one, and more of it than is here."""
        declared = self._stream.get_size()
        return kept.size_bytes > have and (not declared or kept.size_bytes < declared)

    def _begin(self, work: Folder, file: BinaryIO, have: int, copied: Kept | None, claim: Claim) -> int:
        """Go on behind what is here already, if the sender agrees; return from where the bytes come."""
        declared = self._stream.get_size()
        if copied is not None:
            if self._go_on_at(copied.size_bytes, Prefix(copied.file, file, claim.use)):
                return copied.size_bytes
            work.remove(self._receipt_name)
        elif have and not (declared and have > declared) and self._go_on_at(have, Prefix(file)):
            return have
        file.seek(0)
        file.truncate()
        return 0

    def _go_on_at(self, offset: int, have: Prefix) -> bool:
        """Return whether the sender goes on at ``offset``, because what lies before is the same in ``have``."""
        try:
            self._stream.resume_from(offset, have=cast("BinaryIO", have))
        except StreamResumeError:
            return False
        return True

    def _write(self, work: Folder, file: BinaryIO, offset: int, claim: Claim, share: Share) -> int:
        unchecked = 0
        for piece in self._stream.pieces():
            write_all(file, piece)
            offset += len(piece)
            claim.use(len(piece))
            share.use(len(piece))
            unchecked += len(piece)
            if not self._stream.get_size() and unchecked >= _CHECK_SPACE_BYTES:
                unchecked = 0
                self._check_space(work)
        return offset

    def _check_space(self, work: Folder) -> None:
        free = work.free_bytes()
        if free is not None:
            self._manner.space.check(free, 0)

    # --- behind the last byte

    def _finish(self, descriptor: int) -> None:
        file_system = self._manner.file_system
        mode = _DEFAULT_MODE if self._headers.mode is None else self._headers.mode
        with file_system.without(Lack.MODE):
            os.fchmod(descriptor, mode & ~self._manner.umask)
        if self._headers.mtime_ns is not None:
            with file_system.without(Lack.TIME):
                os.utime(descriptor, ns=(self._headers.mtime_ns, self._headers.mtime_ns))
        with file_system.without(Lack.SYNC_FILE):
            os.fsync(descriptor)

    def _publish(self, work: Folder) -> tuple[str, ...]:
        *folders, name = self._parts
        with self._origin_folder.enter(folders, make=True) as folder, self._manner.admission.naming():
            if self._manner.replace:
                work.replace(self._part_name, folder, name)
                self._sync_name(folder, name)
            else:
                taken = work.take_free_name(self._part_name, folder, name)
                self._sync_or_take_back(work, folder, taken)
                name = taken.name
            self._forget_part(work)
            # It is there, and the sender is told, whatever comes next.
            self._stream.close()
        return (*folders, name)

    def _sync_or_take_back(self, work: Folder, folder: Folder, taken: Taken) -> None:
        """Make the name last; one that cannot be made to is none: the sender is told, and sends the file again.

        Raises:
            OSError: the disk says no, and the file has its name no more.
        """
        try:
            folder.sync()
        except OSError as error:
            if self._take_back(work, folder, taken):
                raise
            _warn_of_loss(taken.name, error)

    def _take_back(self, work: Folder, folder: Folder, taken: Taken) -> bool:
        try:
            if taken.linked:
                folder.remove(taken.name)
            else:
                folder.replace(taken.name, work, self._part_name)
        except OSError:
            return False
        return True

    def _sync_name(self, folder: Folder, name: str) -> None:
        """Make the name last. What it has replaced is gone, so that an error cannot make a failure of it any more."""
        try:
            folder.sync()
        except OSError as error:
            _warn_of_loss(name, error)

    def _forget_part(self, work: Folder) -> None:
        """Remove the other name of the file. If that fails, whoever comes here next sees to it."""
        try:
            work.remove(self._part_name)
            work.sync()
        except OSError as error:
            _logger.warning("a work file of the inbox cannot be removed: %s", error.strerror)


def _warn_of_loss(name: str, error: OSError) -> None:
    _logger.warning("'%s' has arrived, but its folder cannot be synced, and may forget it: %s", name, error.strerror)
