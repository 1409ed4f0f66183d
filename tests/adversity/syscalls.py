"""Calls to the system that fail below Python: of ``accept``, made by gRPC in C++. For Linux, in a process of its own.

A filter (seccomp(2), SECCOMP_RET_USER_NOTIF) hands each such call of the process to a thread of it, which lets it
pass or answers it with an error. The filter stays until the process ends.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import struct
import sys
import threading
from collections.abc import Callable

# accept4 and accept, by machine; and seccomp itself.
_ACCEPTS = {"x86_64": (288, 43), "aarch64": (242, 202)}
_SECCOMP = {"x86_64": 317, "aarch64": 277}

_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_LOAD_NUMBER, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_CONTINUE = 1
_NOTIFICATION_BYTES = 80


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint))


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction)))


def can_refuse_accept() -> bool:
    """Return whether this system has what is needed here."""
    return sys.platform == "linux" and platform.machine() in _ACCEPTS


def refuse_accept(error: int, is_refused: Callable[[int], bool]) -> None:
    """Have calls of ``accept`` fail with ``error``, those whose number ``is_refused`` says. Before threads are started.

    Raises:
        OSError: the system does not allow it.
    """
    listener = _install(_ACCEPTS[platform.machine()])
    threading.Thread(target=_answer, args=(listener, error, is_refused), daemon=True).start()


def _install(numbers: tuple[int, ...]) -> int:
    """Install the filter; return the descriptor at which its calls are answered."""
    jumps = [_Instruction(_JUMP_IF_EQUAL, len(numbers) - index, 0, number) for index, number in enumerate(numbers)]
    lines = [_Instruction(_LOAD_NUMBER, 0, 0, 0), *jumps, _Instruction(_RETURN, 0, 0, _ALLOW)]
    lines.append(_Instruction(_RETURN, 0, 0, _NOTIFY))
    program = _Filter(len(lines), (_Instruction * len(lines))(*lines))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    listener: int = libc.syscall(_SECCOMP[platform.machine()], _SET_MODE_FILTER, _NEW_LISTENER, ctypes.byref(program))
    if listener < 0:
        raise OSError(ctypes.get_errno(), "seccomp")
    return listener


def _answer(listener: int, error: int, is_refused: Callable[[int], bool]) -> None:
    calls = 0
    while True:
        notification = bytearray(_NOTIFICATION_BYTES)
        try:
            fcntl.ioctl(listener, _RECEIVE, notification)
        except OSError as raised:
            if raised.errno in (errno.ENOENT, errno.EINTR):
                # The caller has gone meanwhile.
                continue
            os.close(listener)
            return
        calls += 1
        refused = is_refused(calls)
        (number,) = struct.unpack_from("Q", notification)
        answer = struct.pack("QqiI", number, 0, -error if refused else 0, 0 if refused else _CONTINUE)
        try:
            fcntl.ioctl(listener, _SEND, bytearray(answer))
        except OSError:
            continue
