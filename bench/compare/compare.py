#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors
"""CPU per request of Portcullis beside nginx that only proxies, in one run on this machine.

    bench/compare/compare.py [--binary PATH] [--repeats 5] [--seconds 5] [--users N] [--json FILE]

The proxy has CPU 0 and one worker; the service (nginx, 1 KiB), Redis and the load (wrk, 64 connections) have CPU 1. Each subject must do what it
claims before it is measured: a good token 200, rubbish 401, a revoked session 401 where sessions are asked for. Subjects take turns, so that drift
falls on all alike. What counts is the ratio; times are this machine's. Needs nginx, wrk, redis-server, openssl.
"""
import argparse, concurrent.futures, contextlib, http.client, json, os, pathlib, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

HERE = pathlib.Path(__file__).resolve().parent
SESSIONS = 10_000
TICKS = os.sysconf("SC_CLK_TCK")


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_for(port, process, name):
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"{name} ended with {process.returncode}")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.02)
    sys.exit(f"{name} does not listen on port {port}")


class World:
    """All processes and files of one comparison."""

    def __init__(self, binary, folder):
        self.binary, self.folder, self.processes = binary, folder, []
        names = ["service", "redis", "nginx", "strict", "strict_admin", "tracked", "tracked_admin", "unchecked", "unchecked_admin"]
        self.ports = dict(zip(names, free_ports(len(names))))

    def start(self, name, command, cpu, port):
        log = open(self.folder / f"{name}.out", "wb")
        process = subprocess.Popen(["taskset", "-c", str(cpu), *command], stdout=log, stderr=log, cwd=self.folder, start_new_session=True)
        self.processes.append(process)
        wait_for(port, process, name)
        return process

    def nginx(self, role, port, location, cpu):
        text = (HERE / "nginx.conf").read_text().format(folder=self.folder, role=role, port=port, service=self.ports["service"], location=location)
        path = self.folder / f"nginx-{role}.conf"
        path.write_text(text)
        return self.start(f"nginx-{role}", ["nginx", "-e", str(self.folder / f"nginx-{role}.log"), "-c", str(path)], cpu, port)

    def portcullis(self, name, own, issuers, mode="strict"):
        text = (HERE / "portcullis.yaml").read_text().format(
            port=self.ports[name], admin=self.ports[f"{name}_admin"], token="measure", redis=self.ports["redis"],
            service=self.ports["service"], own=own, issuers=issuers, mode=mode)
        path = self.folder / f"{name}.yaml"
        path.write_text(text)
        return self.start(name, [self.binary, "serve", "--config", str(path)], 0, self.ports[name])

    def admin(self, method, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["strict_admin"], timeout=30)
        headers = {"Authorization": "Bearer measure", "Content-Type": "application/json"}
        for _ in range(20):
            connection.request(method, path, b"{}" if method == "POST" else None, headers)
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 503:  # the making of sessions may be more than the machine takes at once
                break
            time.sleep(0.1)
        if answer.status >= 300:
            sys.exit(f"{method} {path}: {answer.status} {body.decode()}")
        return json.loads(body) if body else {}

    def end(self):
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def status(port, token):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/api/resource", headers={"Authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse()
    answer.read()
    return answer.status


def cpu_seconds(process):
    """User and system time of a process and its children that live, from /proc."""
    total, todo = 0, [process.pid]
    while todo:
        pid = todo.pop()
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
        todo += [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return total / TICKS


def load(port, seconds, tokens, token_file):
    command = ["taskset", "-c", "1", "wrk", "-t1", "-c64", f"-d{seconds}s", "--latency"]
    url = f"http://127.0.0.1:{port}/api/resource"
    if token_file:
        command += ["-s", str(HERE / "rotate.lua"), url, "--", str(token_file)]
    else:
        command += ["-H", f"Authorization: Bearer {tokens[0]}", url]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        sys.exit(f"not every answer was good:\n{output}")
    return int(re.search(r"(\d+) requests in", output)[1])


def fill(port, users):
    """Other users' sessions, as the gateway would have made them."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for first in range(0, users, 1000):
            numbers = range(first, min(first + 1000, users))
            connection.sendall(b"".join(b"SADD portcullis:sessions:{other%d} a%d b%d c%d\r\n" % (n, n, n, n) for n in numbers))
            answered = 0
            while answered < len(numbers):
                part = connection.recv(65536)
                if not part or b"-" in part:
                    sys.exit(f"Redis did not take the users: {part[:80]!r}")
                answered += part.count(b"\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(HERE.parent.parent / ".build/release/portcullis"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--users", type=int, default=0, help="other users in Redis, with three sessions each")
    parser.add_argument("--json")
    options = parser.parse_args()
    for tool in ("nginx", "wrk", "redis-server", "openssl", "taskset", options.binary):
        if not shutil.which(tool):
            sys.exit(f"{tool} is needed and not there")
    if os.cpu_count() < 2:
        sys.exit("two CPUs are needed: one for the proxy, one for everything else")

    with tempfile.TemporaryDirectory(prefix="portcullis-compare-") as name:
        world = World(options.binary, pathlib.Path(name))
        try:
            measure(world, options)
        finally:
            world.end()


def measure(world, options):
    ports, folder = world.ports, world.folder
    subprocess.run([world.binary, "keys", "generate", "--algorithm", "RS256", "--out", str(folder / "signing.pem")], check=True)
    subprocess.run(["openssl", "pkey", "-in", str(folder / "signing.pem"), "-pubout", "-out", str(folder / "public.pem")], check=True)
    world.nginx("service", ports["service"], 'return 200 "' + "x" * 1023 + '\\n";', 1)
    world.start("redis", ["redis-server", "--port", str(ports["redis"]), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)], 1, ports["redis"])
    plain = world.nginx("plain", ports["nginx"], 'proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection "";', 0)
    strict = world.portcullis("strict", "compare", "[]")
    tracked = world.portcullis("tracked", "compare", "[]", "tracked")
    unchecked = world.portcullis(
        "unchecked", "nobody",
        '[{name: compare, issuer: compare, audiences: [portcullis], algorithms: [RS256], public_key: {file: public.pem}, sessions: unchecked}]')

    if options.users:
        fill(ports["redis"], options.users)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        tokens = [answer["access_token"] for answer in pool.map(lambda n: world.admin("POST", f"/v1/users/user{n}/sessions"), range(SESSIONS))]
    token_file = folder / "tokens"
    token_file.write_text("\n".join(tokens) + "\n")

    revoked = world.admin("POST", "/v1/users/revoked/sessions")
    world.admin("DELETE", f"/v1/users/revoked/sessions/{revoked['session_id']}")
    for subject, expected in (("nginx", (200, 200, 200)), ("strict", (200, 401, 401)), ("tracked", (200, 401, 401)), ("unchecked", (200, 401, 200))):
        got = tuple(status(ports[subject], token) for token in (tokens[0], "rubbish", revoked["access_token"]))
        if got != expected:
            sys.exit(f"{subject} does not do what it claims: good, rubbish, revoked gave {got} and not {expected}")

    subjects = [
        ("nginx, plain proxying, nothing checked", plain, "nginx", None), ("portcullis, token", unchecked, "unchecked", None),
        ("portcullis, token, 10,000 tokens", unchecked, "unchecked", token_file), ("portcullis, token and session, strict", strict, "strict", None),
        ("portcullis, token and session, strict, 10,000 tokens", strict, "strict", token_file),
        ("portcullis, token and session, tracked", tracked, "tracked", None),
        ("portcullis, token and session, tracked, 10,000 tokens", tracked, "tracked", token_file),
    ]
    results = {name: [] for name, *_ in subjects}
    for _ in range(options.repeats):
        for name, process, port, file in subjects:
            load(ports[port], 2, tokens, file)
            before = cpu_seconds(process)
            requests = load(ports[port], options.seconds, tokens, file)
            results[name].append((cpu_seconds(process) - before) / requests * 1e6)
    base = results[subjects[0][0]]
    table = []
    print(f"{'RS256, 64 connections, 1 KiB':54s} {'CPU a request':>14s}   of nginx' (median of {options.repeats}; least, most)")
    for name, figures in results.items():
        ratios = [one / other for one, other in zip(figures, base)]
        table.append({"subject": name, "cpu_us": figures, "ratio": statistics.median(ratios)})
        print(f"{name:54s} {statistics.median(figures):11.1f} µs   {statistics.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f})")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"results": table, "nginx": subprocess.run(
            ["nginx", "-v"], capture_output=True, text=True).stderr.strip()}, indent=1) + "\n")


if __name__ == "__main__":
    main()
