"""``python -m scripts.openapi``: the API's description, as GET /openapi.json gives it."""

from __future__ import annotations

import json
import sys

from app.main import create_app
from app.settings import AppSettings

if __name__ == "__main__":
    json.dump(create_app(AppSettings()).openapi(), sys.stdout, indent=1)
