#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors
"""A legacy application: it has pages, and no idea of logins. Whoever stands in front of it says in `X-Auth-User` who is asking.

It believes that, so nobody but the gateway may reach it: it listens on loopback alone.
"""

import argparse
import html
import http.server
import pathlib
import urllib.parse

PAGES = pathlib.Path(__file__).resolve().parent / "pages"
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
# Which file is shown where; nothing else is.
FILES = {"/": "orders.html", "/login": "login.html", "/sessions": "sessions.html"}
FILES |= {f"/static/{file.name}": file.name for file in PAGES.iterdir() if file.suffix != ".html"}

SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    # What a browser remembers could be shown to who comes after a logout.
    "Cache-Control": "no-store",
}


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 75

    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            """The gateway has closed a connection that it kept."""

    def do_GET(self):
        name = FILES.get(urllib.parse.urlsplit(self.path).path)
        if name is None:
            return self.answer(404, TYPES[".html"], b"<!doctype html><html lang=en><title>Not found</title><p>There is no such page.")
        content = (PAGES / name).read_bytes()
        if name.endswith(".html"):
            content = content.replace(b"{{user}}", html.escape(self.user()).encode())
        self.answer(200, TYPES[pathlib.Path(name).suffix], content)

    do_HEAD = do_GET

    def user(self):
        """Fields are bytes; the gateway sends UTF-8."""
        return self.headers.get("X-Auth-User", "").encode("latin-1").decode("utf-8", "replace")

    def answer(self, status, content_type, body):
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **SECURITY}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        """The gateway has an access log."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=9001)
    port = parser.parse_args().port
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Page).serve_forever()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
