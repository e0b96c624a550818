"""What a cluster costs its store, and what a large table costs a node: `python -m benchmarks.control`, `make scale`.

A real server (`server.py`), many simulated nodes in a few processes (`crew.py`: real store objects, no data plane), and
one node with real tables, reconciler and announcer (`member.py`). `phases.py` measures, `table.py` writes it down.
"""
