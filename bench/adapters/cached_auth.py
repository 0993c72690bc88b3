#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors
"""What a logout is worth where gateways remember answers for a while: `portcullis-bench revocation` against two nginx that ask a session service
(auth_request) and cache what it says.

    bench/adapters/cached_auth.py [--bench PATH] [--ttl 2] [--logouts 20] [--json FILE] [--html FILE]

It is also the pattern for measuring other gateways: a file of sessions, and a command that logs one out. The exit code is 0 when requests still
passed after the logout, as they must here, and 1 when the harness saw none of that. Needs nginx and curl.
"""
import argparse, contextlib, http.server, pathlib, secrets, shutil, signal, socket, subprocess, sys, tempfile, threading, time

HERE = pathlib.Path(__file__).resolve().parent
EDGES = 2
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000;
  {paths}
  upstream sessions {{ server 127.0.0.1:{service}; keepalive 32; }}
  {servers}
}}
"""
PATHS = "client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;"
# Each edge has a cache of its own, as gateways on several machines have.
EDGE = """
  proxy_cache_path {folder}/cache{number} keys_zone=edge{number}:8m;
  server {{
    listen 127.0.0.1:{port};
    location / {{ auth_request /auth; try_files /none @ok; }}
    location @ok {{ return 200 "ok\\n"; }}
    location = /auth {{
      internal; proxy_pass http://sessions/check; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass_request_body off;
      proxy_set_header Content-Length ""; proxy_cache edge{number}; proxy_cache_key $http_authorization; proxy_cache_valid 200 {ttl}s;
    }}
  }}
"""


class SessionService(http.server.ThreadingHTTPServer):
    """Knows which tokens are good: GET /check, POST /logout."""
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, tokens):
        super().__init__(("127.0.0.1", 0), Handler)
        self.active, self.lock = set(tokens), threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def token(self):
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def do_GET(self):
        with self.server.lock:
            self.answer(200 if self.token() in self.server.active else 401)

    def do_POST(self):
        with self.server.lock:
            self.server.active.discard(self.token())
        self.answer(204)

    def log_message(self, *_):
        pass


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default=str(HERE.parent.parent / ".build/release/portcullis-bench"))
    parser.add_argument("--ttl", type=int, default=2, help="seconds for which the edges remember that a token is good")
    parser.add_argument("--logouts", type=int, default=20)
    parser.add_argument("--json")
    parser.add_argument("--html")
    options = parser.parse_args()
    for tool in ("nginx", "curl", options.bench):
        if not shutil.which(tool):
            sys.exit(f"{tool} is needed and not there")
    with tempfile.TemporaryDirectory(prefix="portcullis-adapter-") as name:
        sys.exit(measure(options, pathlib.Path(name)))


def measure(options, folder):
    sessions = [(f"user{n}", f"session{n}", secrets.token_urlsafe(32)) for n in range(options.logouts)]
    (folder / "sessions").write_text("".join(" ".join(words) + "\n" for words in sessions))
    service = SessionService(token for _, _, token in sessions)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    ports = free_ports(EDGES)
    servers = "".join(EDGE.format(folder=folder, number=n, port=port, ttl=options.ttl) for n, port in enumerate(ports))
    (folder / "nginx.conf").write_text(
        NGINX.format(folder=folder, paths=PATHS.format(folder), service=service.server_port, servers=servers))
    folder.chmod(0o755)  # nginx' workers are another user where it is started as root
    nginx = subprocess.Popen(["nginx", "-e", str(folder / "nginx.log"), "-c", str(folder / "nginx.conf")], start_new_session=True)
    try:
        wait_for(nginx, ports)
        # The token goes to curl by its standard input: arguments can be read by every user of the machine.
        logout = ("printf 'header = \"Authorization: Bearer %s\"\\n' \"$PORTCULLIS_BENCH_TOKEN\" | "
                  f"curl --config - --silent --fail --request POST http://127.0.0.1:{service.server_port}/logout")
        command = [options.bench, "revocation", "--edges", ",".join(f"http://127.0.0.1:{port}/" for port in ports),
                   "--sessions-file", str(folder / "sessions"), "--logout-command", logout, "--settle", f"{options.ttl + 1}s"]
        for name in ("json", "html"):
            if getattr(options, name):
                command += [f"--{name}", getattr(options, name)]
        code = subprocess.run(command).returncode
    finally:
        nginx.send_signal(signal.SIGTERM)
        nginx.wait()
    if code == 1:
        return 0
    print(f"the harness ended with {code}: it saw no request pass after a logout", file=sys.stderr)
    return 1


def wait_for(process, ports):
    deadline = time.monotonic() + 15
    for port in ports:
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit("nginx does not listen")
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.02)


if __name__ == "__main__":
    main()
