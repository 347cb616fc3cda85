"""What the API and the workers say to each other. It imports nothing of the other rooms, and no torch.

``settings`` (what both read), ``logs`` (how all log), ``metrics`` (every metric, one table), ``instruments``
(what counts, made of it), ``census`` (workers and jobs, counted), ``keys`` (Redis keys), ``queue`` (Celery's
names), ``messages`` (a batch of images, a training), ``stream`` (bytes on their way back), ``jobs`` (the job
record), ``presence`` (who is alive), ``models`` (published models in the shared folder), ``promotion`` (which
of them ``default`` names), ``versions`` (who can work together), ``traces`` (OpenTelemetry, by
option).
"""
