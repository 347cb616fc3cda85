"""``python -m tests.soak``: random load under random faults, then an audit of every accepted request."""

from contract.arithmetic import PORTABLE
from worker.arithmetic import hold_to

hold_to(PORTABLE)  # as the workers do, whose bytes are drawn again by the audit; before it loads PyTorch
