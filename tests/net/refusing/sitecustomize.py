"""With this folder in PYTHONPATH, the kernel refuses a Python process the TAP offloads named in REFUSED_OFFLOADS.

As older kernels do: TUNSETOFFLOAD with any of those bits is EINVAL. By a seccomp filter (seccomp(2)).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

TUNSETOFFLOAD = 0x400454D0  # linux/if_tun.h
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2  # linux/prctl.h, linux/seccomp.h
SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW = 0x00050000, 0x7FFF0000
LOAD, JUMP_EQUAL, JUMP_SET, RETURN = 0x20, 0x15, 0x45, 0x06  # linux/bpf_common.h: BPF_LD|W|ABS, JMP|JEQ, JMP|JSET, RET
ARGUMENT_1, ARGUMENT_2 = 24, 32  # offsets in struct seccomp_data, low halves on a little-endian machine


def refuse(mask: int) -> None:
    """Install the filter in this process and all that it starts."""
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (LOAD, 0, 0, ARGUMENT_1),
            (JUMP_EQUAL, 0, 3, TUNSETOFFLOAD),
            (LOAD, 0, 0, ARGUMENT_2),
            (JUMP_SET, 0, 1, mask),
            (RETURN, 0, 0, SECCOMP_RET_ERRNO | errno.EINVAL),
            (RETURN, 0, 0, SECCOMP_RET_ALLOW),
        )
    )
    code = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))  # struct sock_fprog
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, head, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


refuse(int(os.environ["REFUSED_OFFLOADS"], 0))
