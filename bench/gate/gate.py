#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors
"""Instructions, allocations and counted references of one forwarded request, counted by callgrind: they hardly depend on how busy the machine is.

    bench/gate/gate.py [--binary PATH] [--profile FOLDER] [MODE …]

One connection, one request after the other, RS256, 1 KiB from the service. What is counted is user space of the event loop between two dumps, so starting and
warming up is not in it. Modes and thresholds are in thresholds.json; exit 1 where one is exceeded. `--profile` keeps callgrind's files.
"""
import argparse, contextlib, http.client, json, os, pathlib, shutil, signal, socket, statistics, subprocess, sys, tempfile, threading, time

HERE = pathlib.Path(__file__).resolve().parent
# The median of the batches counts: on a busy machine one may take longer, and what timers do meanwhile is no cost of a request.
WARM_UP, BATCHES, REQUESTS = 300, 3, 1000
ALLOCATORS = {"malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"}
RETAINS = {"swift_retain", "swift_retain_n", "swift_bridgeObjectRetain", "swift_bridgeObjectRetain_n", "swift_unownedRetainStrong", "swift_unownedRetain"}


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def serve(listener):
    """The service: 1 KiB for whatever is asked."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024

    def talk(connection):
        with connection, contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            head = b""
            while part := connection.recv(65536):
                head += part
                while b"\r\n\r\n" in head:
                    head = head.split(b"\r\n\r\n", 1)[1]
                    connection.sendall(answer)

    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=talk, args=(connection,), daemon=True).start()


def call(port, method, path, token):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = b"{}" if method == "POST" else None
    connection.request(method, path, body, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def request(port, token, count):
    """So many requests, one after the other on one connection."""
    wire = f"GET /api/resource?page=2 HTTP/1.1\r\nHost: gate.example\r\nUser-Agent: gate\r\nAccept: */*\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for _ in range(count):
            connection.sendall(wire)
            answer = b""
            while b"\r\n\r\n" not in answer or len(answer.split(b"\r\n\r\n", 1)[1]) < 1024:
                part = connection.recv(65536)
                if not part:
                    sys.exit("the gateway closed the connection")
                answer += part
            if not answer.startswith(b"HTTP/1.1 200 "):
                sys.exit(f"not 200: {answer[:200]!r}")


def counted(files):
    """Instructions of the event loop (the busiest thread: callgrind writes a file for each), and its calls of allocators and of what counts references."""
    counts = []
    for path in files:
        instructions, allocations, retains, called = 0, 0, 0, ""
        for line in path.read_text().splitlines():
            if line.startswith("totals:"):
                instructions = int(line.split()[1])
            elif line.startswith("cfn="):
                called = line[4:]
            elif line.startswith("calls="):
                calls = int(line[6:].split()[0])
                allocations += calls if called in ALLOCATORS else 0
                retains += calls if called in RETAINS else 0
        counts.append((instructions, allocations, retains))
    return max(counts)


class World:
    def __init__(self, options, folder):
        self.options, self.folder, self.processes = options, folder, []

    def start(self, name, command):
        log = open(self.folder / f"{name}.out", "wb")
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, start_new_session=True)
        self.processes.append(process)
        return process

    def end(self):
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def measure(self, mode, lines):
        options, folder = self.options, self.folder
        listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        port, admin, redis = free_ports(3)
        self.start(f"{mode}-redis", ["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)])
        settings = {
            "listeners": [{"address": f"127.0.0.1:{port}"}], "admin": {"address": f"127.0.0.1:{admin}", "token": "measure"}, "workers": 1,
            # Under valgrind everything takes fifty times as long.
            "store": {"redis": {"addresses": [f"127.0.0.1:{redis}"], "command_timeout": "5s"}},
            "sessions": {"api_path": None, "issuer": "gate", "signing_key": {"file": "signing.pem"}, "access_token_lifetime": "12h"},
            "upstreams": {"service": {"endpoints": ["127.0.0.1:%d" % listener.getsockname()[1]], "response_timeout": "60s"}},
            "routes": [{"path": "/", "upstream": "service"}], "logging": {"level": "warning", "access_log": False}} | lines
        (folder / f"{mode}.yaml").write_text(json.dumps(settings))
        gateway = self.start(mode, [
            "valgrind", "--tool=callgrind", "--separate-threads=yes", "--compress-strings=no", f"--callgrind-out-file={folder}/{mode}.callgrind", options.binary, "serve",
            "--config", str(folder / f"{mode}.yaml")])
        deadline = time.monotonic() + 120
        while True:
            if gateway.poll() is not None or time.monotonic() > deadline:
                sys.exit((folder / f"{mode}.out").read_text())
            with contextlib.suppress(OSError):
                if call(admin, "GET", "/readyz", "")[0] == 200:
                    break
            time.sleep(0.1)
        status, body = call(admin, "POST", "/v1/users/gate/sessions", "measure")
        if status >= 300:
            sys.exit(f"no session: {status} {body.decode()}")
        token = json.loads(body)["access_token"]
        if call(port, "GET", "/api/resource", "rubbish")[0] != 401:
            sys.exit("rubbish is let through")
        request(port, token, WARM_UP)
        self.dump(gateway)
        batches = []
        for _ in range(BATCHES):
            before = set(folder.glob(f"{mode}.callgrind*"))
            request(port, token, REQUESTS)
            self.dump(gateway)
            files = sorted(set(folder.glob(f"{mode}.callgrind*")) - before)
            found = counted(files)
            if 0 in (found[0], found[2]):
                sys.exit(f"callgrind has counted nothing: {found}")
            batches.append([count / REQUESTS for count in found])
        os.killpg(gateway.pid, signal.SIGKILL)
        listener.close()
        if options.profile:  # the last batch's
            pathlib.Path(options.profile).mkdir(parents=True, exist_ok=True)
            for file in files:
                shutil.copy(file, options.profile)
        return [statistics.median(counts) for counts in zip(*batches)]

    def dump(self, process):
        subprocess.run(["callgrind_control", "--dump", str(process.pid)], check=True, capture_output=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(HERE.parent.parent / ".build/release/portcullis"))
    parser.add_argument("--profile", metavar="FOLDER")
    parser.add_argument("modes", nargs="*", metavar="MODE")
    options = parser.parse_args()
    thresholds = json.loads((HERE / "thresholds.json").read_text())
    if unknown := set(options.modes) - set(thresholds["modes"]):
        parser.error(f"no such mode: {', '.join(sorted(unknown))}")
    for tool in ("valgrind", "callgrind_control", "strip", "redis-server", options.binary):
        if not shutil.which(tool):
            sys.exit(f"{tool} is needed and not there")
    too_many = False
    with tempfile.TemporaryDirectory(prefix="portcullis-gate-") as name:
        folder = pathlib.Path(name)
        # Valgrind cannot read what Swift's compiler writes for debuggers; symbols stay.
        binary = folder / "portcullis"
        subprocess.run(["strip", "--strip-debug", "-o", str(binary), options.binary], check=True)
        options.binary = str(binary)
        subprocess.run([options.binary, "keys", "generate", "--algorithm", "RS256", "--out", str(folder / "signing.pem")], check=True)
        world = World(options, folder)
        try:
            for mode, limits in thresholds["modes"].items():
                if options.modes and mode not in options.modes:
                    continue
                found = world.measure(mode, limits["settings"])
                for what, count in zip(("instructions", "allocations", "retains"), found):
                    over = count > limits[what]
                    too_many |= over
                    print(f"{mode}: {count:.2f} {what} a request, at most {limits[what]}{'   TOO MANY' if over else ''}", flush=True)
        finally:
            world.end()
    sys.exit(1 if too_many else 0)


if __name__ == "__main__":
    main()
