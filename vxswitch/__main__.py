"""The ``vxswitch`` command, and ``python -m vxswitch``.

Imports take a tenth of a second. Until they are done SIGINT just ends the process: Python's own handler would show
where it was by a traceback.
"""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line; always raises SystemExit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from vxswitch.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
