"""A namespace for the tests that ask the kernel."""

from tests.kernel.namespaces import namespace

__all__ = ["namespace"]
