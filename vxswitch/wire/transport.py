"""TCP and UDP headers: where their fields stand (RFC 9293 section 3.1, RFC 768).

Offsets count from the first byte of the transport header. Segmentation, coalescing and the flow hash read headers
through these names.
"""

from typing import Final

# Both ports stand here in TCP, UDP and SCTP (RFC 9260 section 3.1) alike.
SOURCE_PORT: Final = 0
DESTINATION_PORT: Final = 2
PORTS_LEN: Final = 4

# TCP
TCP_SEQUENCE: Final = 4
TCP_ACKNOWLEDGMENT: Final = 8
TCP_DATA_OFFSET: Final = 12  # upper nibble: header length in 32-bit words
TCP_FLAGS: Final = 13
TCP_WINDOW: Final = 14
TCP_CHECKSUM: Final = 16
TCP_URGENT: Final = 18
TCP_HEADER_LEN: Final = 20  # without options
TCP_HEADER_MAX: Final = 60

TCP_FIN: Final = 0x01
TCP_SYN: Final = 0x02
TCP_RST: Final = 0x04
TCP_PSH: Final = 0x08
TCP_ACK: Final = 0x10
TCP_URG: Final = 0x20
TCP_ECE: Final = 0x40  # RFC 3168 section 6.1
TCP_CWR: Final = 0x80

# UDP
UDP_LENGTH: Final = 4  # header and payload, in bytes
UDP_CHECKSUM: Final = 6
UDP_HEADER_LEN: Final = 8
