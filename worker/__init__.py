"""The Celery workers: one kind draws images, the other runs trainings.

``settings``, ``engine`` (models loaded, batches drawn), ``png`` (strips to PNG bytes), ``images`` (a
batch's way back), ``trainer`` (a training as a subprocess), ``metrics`` and ``training_metrics`` (what
Prometheus reads), ``main`` (the worker process itself).
"""
