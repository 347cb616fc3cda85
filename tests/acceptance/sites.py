"""Sites of other origins, whose pages show what the service draws."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VENDOR = Path(__file__).parents[1] / "vendor"
TOOLS = Path(__file__).parents[2] / "build" / "tools"  # of `make tools`


@contextmanager
def site_of(folder: Path) -> Iterator[str]:
    """Serves the files of a folder."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
