"""The ``vitgan`` command. It stands above all rooms and imports each only when it is asked for.

``main`` (the commands), ``values`` (seeds, sizes and times as people write them), ``local`` (train and
generate without the service), ``supervisor`` (``vitgan up``), ``valkey`` (the embedded server).
"""
