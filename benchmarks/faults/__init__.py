"""What the network does while its store or its nodes misbehave: real servers, a stream of frames, and what is asserted.

`world.py` is the network under test, `store.py`, `poison.py`, `nodes.py` and `fleets.py` say what can go wrong,
`trial.py` does one and measures. tests/net/test_store_faults.py runs every fault of one server for a short time;
`python -m benchmarks.faults` (`make faults`) all of them for a longer one, and writes the table of docs/operations.md
(`table.py`).
"""
