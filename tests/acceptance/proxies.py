"""Reverse proxies that offer a service below /img: a small one of our own, nginx and Caddy where they are."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import httpx
import pytest

from tests.conftest import free_port

NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log stderr; events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location = /img {{ return 301 $scheme://$http_host/img/; }}
    location /img/ {{
      proxy_pass http://127.0.0.1:{upstream}{slash};
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_http_version 1.1; proxy_buffering off; client_max_body_size 0;
    }}
  }}
}}
"""
CADDY = """
{{
  admin off
  auto_https off
}}
http://:{port} {{
  bind 127.0.0.1
  redir /img /img/
  handle_path /img/* {{
    reverse_proxy 127.0.0.1:{upstream} {{
      flush_interval -1
    }}
  }}
}}
"""

Proxy = Callable[[Path, int], AbstractContextManager[int]]  # of a folder and the service's port; its own port


@contextmanager
def nginx_takes_off(folder: Path, upstream: int) -> Iterator[int]:
    with _nginx(folder, upstream, "/") as port:
        yield port


@contextmanager
def nginx_leaves(folder: Path, upstream: int) -> Iterator[int]:
    with _nginx(folder, upstream, "") as port:
        yield port


@contextmanager
def caddy(folder: Path, upstream: int) -> Iterator[int]:
    port, config = free_port(), folder / "Caddyfile"
    config.write_text(CADDY.format(port=port, upstream=upstream))
    homes = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with _running([program("caddy"), "run", "--adapter", "caddyfile", "--config", str(config)], port, homes):
        yield port


@contextmanager
def _nginx(folder: Path, upstream: int, slash: str) -> Iterator[int]:
    port, config = free_port(), folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, upstream=upstream, slash=slash))
    with _running([program("nginx"), "-p", str(folder), "-c", str(config)], port):
        yield port


def program(name: str) -> str:
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed: install the package {name} to try the service behind it")
    return path


@contextmanager
def _running(command: list[str], port: int, env: dict[str, str] | None = None) -> Iterator[None]:
    process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{port}/img")
                break
            time.sleep(0.05)
        assert process.poll() is None, f"{command[0]} ended"
        yield
    finally:
        process.terminate()
        process.wait(30)


class _Handler(BaseHTTPRequestHandler):
    """Takes the path off, as most proxies do, and says that it was reached by https."""

    protocol_version = "HTTP/1.0"
    upstream: ClassVar[str]

    def do_GET(self) -> None:
        if not self.path.startswith("/img/"):
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = dict(self.headers.items()) | {"Connection": "close", "X-Forwarded-Proto": "https"}
        url = f"{self.upstream}{self.path.removeprefix('/img')}"
        with httpx.stream(self.command, url, content=body, headers=headers, timeout=120) as answer:
            self.send_response(answer.status_code)
            for name, value in answer.headers.multi_items():
                if name not in ("connection", "transfer-encoding", "date"):
                    self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the browser has left
                for part in answer.iter_raw():
                    self.wfile.write(part)

    do_POST = do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def our_own(folder: Path, upstream: int) -> Iterator[int]:
    handler = type("Handler", (_Handler,), {"upstream": f"http://127.0.0.1:{upstream}"})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
