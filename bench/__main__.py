"""``make bench``: everything, each figure beside what the machine can do."""

from __future__ import annotations

from bench import http, machine, render, train

print("# machine")
limits = machine.measure()
print("\n# renderer, in process, shipped model")
render.run(limits)
print("\n# training step, beside an eager reference")
train.run(limits)
print("\n# service over HTTP, shipped model, one image worker, client on the same cores")
http.run()
