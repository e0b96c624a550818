"""BYTES IN, BYTES OUT: headers and checksums, one file per protocol, standard library only.

What crosses this room is a buffer, an offset and a length. The buffer belongs to the caller and is borrowed for the
call alone; `start >= 0` and `start + length <= len(buf)` are the caller's promise, everything the bytes themselves say
is distrusted. No function raises on account of what the bytes are: a returned value says what is wrong.

Offsets are named once, in the order in which the bytes stand, and count from the first byte of their own header.
Integers are in host order and mean what the header says (a checksum of 0x1234 is the bytes 12 34), unless a docstring
says otherwise.
"""

from typing import TypeAlias

Readable: TypeAlias = bytes | bytearray | memoryview
Writable: TypeAlias = bytearray | memoryview
