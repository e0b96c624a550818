"""ARITHMETIC ON ARENAS: super-frames into rows and rows into super-frames, numpy and struct, no I/O.

    super-frame --segment.Cutter--> run of rows     on the way from a TAP to a VTEP
    run of rows --coalesce.Joiner--> super-frame    on the way from a VTEP to a TAP

A row is `[VXLAN 8][Ethernet][IP][TCP or UDP][payload]`, the payload of one datagram. The rows of a run stand one
directly after the other, all of one size, the last perhaps shorter: as UDP_SEGMENT sends them and UDP_GRO delivers
them. `headers` writes the header of every row of a super-frame; the cutter sends those bytes, the joiner demands them.
So what is joined is what the cutter would cut, by construction. `partial` is for peers that leave both to a device.

Every function takes a constant number of Python objects per super-frame, none per segment: what is done to all rows is
one call into numpy. All buffers are made once.
"""
