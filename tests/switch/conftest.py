"""Fixtures of the switch tests: namespaces of their own."""

from tests.kernel.namespaces import namespace, pair

__all__ = ["namespace", "pair"]
