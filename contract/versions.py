"""What the API and its workers must have the same of.

Both numbers are part of the names of queues and of the lists of who is alive (contract/keys.py). So a worker
of another version never hears of this API's images, whichever of the two is the older one.
"""

from __future__ import annotations

BYTES_VERSION = 5  # raise it when the same request comes to give other bytes
PROTOCOL = 3  # raise it when what one side says (messages, frames, keys) is not what the other understands

TOGETHER = f"{PROTOCOL}.{BYTES_VERSION}"  # who has the same works together
