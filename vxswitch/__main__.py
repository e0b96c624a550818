"""``python -m vxswitch``: the same as the ``vxswitch`` command."""

from vxswitch.cli.main import main

if __name__ == "__main__":
    main()
