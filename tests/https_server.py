"""An https server on this machine, with a certificate made for it, whose answers can go wrong on purpose."""

from __future__ import annotations

import contextlib
import http.server
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass
class Site:
    """`pages` by path. The lists say what the next answers do, one entry an answer; `asked` notes the Range headers."""

    pages: dict[str, bytes]
    url: str = ""
    etag: str | None = None
    ranges: bool = True
    break_after: list[int] = field(default_factory=list)  # bytes, then the connection closes
    status: list[int] = field(default_factory=list)  # an error instead of the page
    redirects: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site, wanted = self.site, self.headers.get("Range", "")
        site.asked.append(wanted)
        site.paths.append(self.path)
        if self.path in site.redirects:
            self.send_response(302)
            self.send_header("Location", site.redirects[self.path])
            self.end_headers()
            return
        if site.status:
            self.send_error(site.status.pop(0))
            return
        content = site.pages.get(self.path.partition("?")[0])
        if content is None:
            self.send_error(404)
            return
        condition = self.headers.get("If-Range")
        if not site.ranges or (condition is not None and condition != site.etag):
            wanted = ""
        first = int(wanted.removeprefix("bytes=").rstrip("-") or 0)
        if wanted and first >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if site.etag:
            self.send_header("ETag", site.etag)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        end = first + site.break_after.pop(0) if site.break_after else len(content)
        self.wfile.write(content[first:end])

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that hangs up early is part of the tests."""


@contextlib.contextmanager
def serve(folder: Path, pages: dict[str, bytes]) -> Iterator[Site]:
    """`folder` takes the key and the certificate, which this process then trusts."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -days 2 -subj /CN=localhost"
    try:
        subprocess.run([*command.split(), "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl")
    site = Site(pages)
    web = Server(("127.0.0.1", 0), type("Serving", (Handler,), {"site": site}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    web.socket = context.wrap_socket(web.socket, server_side=True)
    threading.Thread(target=web.serve_forever, args=[0.02], daemon=True).start()
    site.url = f"https://localhost:{web.server_port}"
    before = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "no_proxy")}
    os.environ |= {"SSL_CERT_FILE": str(certificate), "no_proxy": "localhost"}
    try:
        yield site
    finally:
        web.shutdown()
        web.server_close()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
