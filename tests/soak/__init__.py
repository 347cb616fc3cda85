"""``python -m tests.soak``: random load under random faults, then an audit of every accepted request."""
