"""``make bench``: everything, each figure beside what the machine can do."""

from __future__ import annotations

from bench import http, job_core, jobs, machine, render, seams, service, train, zoom
from contract.settings import SHIPPED_MODELS

print("# machine")
limits = machine.measure()
print("\n# renderer, in process, shipped model")
render.run(limits)
print("\n# seams and scales, shipped models")
for folder in sorted(path.parent for path in SHIPPED_MODELS.glob("*/config.json")):
    seams.run(folder)
    zoom.run(folder)
print("\n# training step, beside an eager reference")
train.run(limits)
print("\n# jobs and admission, beside a PING")
jobs.run()
print("\n# the same service with and without what keeps images safe, by turns")
job_core.run()
print("\n# service over HTTP, shipped model, one image worker, client on the same cores")
http.run()
print("\n# service beside the engine")
service.run()
