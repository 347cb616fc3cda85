"""The FastAPI front end: checks requests, gathers images into batches, streams the answers. No torch.

``main`` (``create_app``), ``settings``, ``errors`` (every refusal, one table), ``schemas`` (bodies of
requests), ``coalesce`` (requests to batches), ``replies`` (frames to requests), ``archives`` (uploads
checked), ``routes/`` (one file a noun), ``metrics``, ``gauges`` and ``measuring`` (what Prometheus reads),
``static/`` (the page).
"""
