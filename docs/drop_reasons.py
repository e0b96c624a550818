"""Write docs/drop-reasons.md from the reasons in the code, or with --check say whether it is up to date."""

import sys
from pathlib import Path

from vxswitch.counters import EXPLAIN

PAGE = Path(__file__).with_name("drop-reasons.md")
HEAD = """# Drop reasons

Every frame that is not delivered dies under exactly one of these names: in `vxswitch drops`, in
`vxswitch ports --json` and as the label `reason` of the metric. Written by `make docs`.

Counted are frames as they are on a wire: a super-frame that dies counts as many as it stands for, and so do the
counters of `vxswitch ports` and `status`. In two places nobody tells how many there were, so these count less:

- `underlay_overflow` comes from the kernel, which joins up to 64 datagrams of one flow before they reach our receive
  buffer (UDP_GRO) and counts them as one when there is no room. Take it as a sign, not as a number.
- A kernel VXLAN peer on the same machine (a virtual underlay: veth, bridges) may send a super-frame whole, in one
  datagram. It is one frame here, in and out, whatever its length: compare bytes with such a peer.

| reason | what happened |
|---|---|
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(f"| `{reason.label}` | {text} |\n" for reason, text in EXPLAIN.items())


def main() -> int:
    """0: written, or up to date."""
    if "--check" not in sys.argv:
        PAGE.write_text(page())
    elif not PAGE.exists() or PAGE.read_text() != page():
        print(f"{PAGE.name} is not what the code says: run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
