# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors
"""What is measured of a running subject: CPU a request and throughput under load, latency at a fixed rate, memory."""
import contextlib, json, os, pathlib, re, resource, socket, struct, subprocess, time

from peers import COLD, HERE, MANY, ONE
from tokens import USERS
from world import BODY, PATH, PROXY_CPU, Failure

CONNECTIONS = 64
TICKS = os.sysconf("SC_CLK_TCK")


def stat(pid):
    """The fields of /proc/PID/stat behind the name: [1] is the parent, [11] to [14] are the times."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def tree(running):
    """The subject's processes, with the children that they have now."""
    found, todo = [], [process.pid for process in running.processes]
    while todo:
        pid = todo.pop()
        found.append(pid)
        for thread in os.listdir(f"/proc/{pid}/task"):
            todo += [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{thread}/children").read_text().split()]
    return found


def cpu_seconds(pids):
    """User and system time, so also what the kernel does for loopback on behalf of who sends."""
    return sum(int(field) for pid in pids for field in stat(pid)[11:13]) / TICKS


def memory_mib(pids):
    """Resident memory; what several processes share is counted once (proportional set size)."""
    rollups = [pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return sum(int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)[1]) for rollup in rollups) / 1024


def signature_us(world):
    """What checking one RS256 signature costs OpenSSL on the proxy's processor, in microseconds: the hash of what a token of this comparison signs, and RSA.
    Gateways that use another library may take less for a token that is new."""
    def speed(*what):
        command = ["taskset", "-c", str(PROXY_CPU), world.tools.paths["openssl"], "speed", "-mr", "-seconds", "1", *what]
        return subprocess.run(command, capture_output=True, text=True).stdout

    signed = len(world.issuer.good.rsplit(".", 1)[0])
    rsa = re.search(r"^\+F2:\d+:2048:[\d.]+:([\d.]+)$", speed("rsa2048"), re.MULTILINE)
    hashed = re.search(r"^\+F:\d+:sha256:([\d.]+)$", speed("-bytes", str(signed), "-evp", "sha256"), re.MULTILINE)
    return 1e6 / float(rsa[1]) + 1e6 * signed / float(hashed[1]) if rsa and hashed else None


class Others:
    """CPU of programs that have nothing to do with the comparison, and of other virtual machines as far as this one is told (steal), in percent of one
    processor: how far a figure is to be trusted."""

    def __init__(self, world, pids):
        self.own = {os.getpid(), *pids, *(pid for running in world.infrastructure for pid in tree(running))}
        self.began, self.before = time.monotonic(), self.seconds()

    def seconds(self):
        total = 0
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) not in self.own:
                with contextlib.suppress(OSError):
                    total += sum(int(field) for field in stat(name)[11:15])  # with children that ended
        return (total + int(pathlib.Path("/proc/stat").read_text().split()[8])) / TICKS

    def percent(self):
        return max(0.0, 100 * (self.seconds() - self.before) / (time.monotonic() - self.began))


class Load:
    """As many requests as the subject answers on 64 connections, by wrk."""

    def __init__(self, world, running, kind):
        self.world, self.running, self.kind = world, running, kind
        self.file, self.sent = {MANY: world.issuer.many, COLD: world.issuer.cold}.get(kind), 0

    def put(self, seconds):
        """Requests that were answered, and how many a second. Every token of the file has its turn before one comes again, from call to call."""
        url = f"http://127.0.0.1:{self.running.port}{PATH}"
        command = [self.world.tools.paths["wrk"], "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
        if self.kind == ONE:  # without a script wrk does more on its processor
            command += ["-H", f"Authorization: Bearer {self.world.issuer.good}", url]
        else:
            command += ["-s", HERE / "rotate.lua", url, "--", self.file, str(self.sent)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
            told = [line.strip() for line in done.stdout.splitlines() if "Non-2xx" in line or "Socket errors" in line]
            raise Failure(f"not every answer was good: {'; '.join(told) or done.stderr.strip()}")
        requests = int(re.search(r"(\d+) requests in", done.stdout)[1])
        if requests == 0:
            raise Failure("not one request was answered")
        self.sent += requests
        return requests, float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1])

    def measure(self):
        """A second of it: CPU seconds, requests, requests a second, and how long it took."""
        pids = tree(self.running)
        began, before = time.monotonic(), cpu_seconds(pids)
        requests, rate = self.put(1)
        return cpu_seconds(pids) - before, requests, rate, min(1, time.monotonic() - began)


def load(world, running, kind, options):
    """One load, after a shorter one that opens connections and fills what remembers."""
    one, base = Load(world, running, kind), Load(world, world.base, kind)
    for _ in range(20):
        one.put(1)
        if kind != MANY or one.sent >= USERS:  # each token has been seen
            break
    base.put(1)
    with awake() as is_awake:
        return quietest(lambda: side_by_side(world, one, base, options.seconds), options) | {"awake": is_awake}


def side_by_side(world, one, base, seconds):
    """A second of the subject and one of nginx in turn, under the same load: a virtual machine is another one a minute later, and ratios are of what
    was measured within the same two seconds."""
    others = Others(world, tree(one.running))
    turns = [(one.measure(), base.measure()) for _ in range(seconds)]
    (used, requests, rate, wall), (base_used, base_requests, *_) = ([sum(column) for column in zip(*of)] for of in zip(*turns))
    return {"cpu_us": used / requests * 1e6, "base_cpu_us": base_used / base_requests * 1e6, "requests_per_second": rate / seconds,
            "busy_percent": min(100.0, 100 * used / wall), "others_percent": others.percent()}


def quietest(function, options):
    """What the function measures, and in how many tries; again, at most twice, where other programs were busy meanwhile or it failed."""
    tries, failure = [], None
    for tried in range(1, 4):
        try:
            tries.append(function())
        except Failure as one:
            failure = one
        else:
            if tries[-1]["others_percent"] <= options.quiet:
                break
    if not tries:
        raise failure
    return min(tries, key=lambda figures: figures["others_percent"]) | {"tries": tried}


@contextlib.contextmanager
def awake():
    """Idle processors poll instead of halting while this lasts, where one is allowed to ask for it: waking one of a virtual machine takes longer
    than a proxy does, is paid by whoever sends, and would hide what the proxy costs; most of all where it is slow and lets the other processor
    halt. Yields whether it is so."""
    try:
        handle = os.open("/dev/cpu_dma_latency", os.O_WRONLY)
    except OSError:
        yield False
        return
    try:
        os.write(handle, struct.pack("i", 0))
        yield True
    finally:
        os.close(handle)


def latency(world, running, options):
    """Percentiles at a fixed rate, in milliseconds, counted from when each request was due. By Portcullis' own harness, which any subject can be put before."""
    report = world.folder / "latency.json"
    command = [
        world.tools.bench, "run", "--url", f"http://127.0.0.1:{running.port}{PATH}", "--rate", str(options.rate), "--duration", f"{options.latency_seconds}s",
        "--warmup", "1s", "--token-file", world.issuer.many, "--json", report]
    others = Others(world, tree(running))
    with awake() as is_awake:
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"portcullis-bench ended with {done.returncode}: {' '.join(done.stderr.split())[-300:]}")
    figures = json.loads(report.read_text())
    if figures.get("errors"):
        raise Failure(f"at {options.rate} requests/s: {figures['errors']}")
    return {"p50_ms": figures["latency_ms"]["p50"], "p99_ms": figures["latency_ms"]["p99"], "lateness_p99_ms": figures["lateness_ms"]["p99"], "awake": is_awake,
            "others_percent": others.percent()}


def idle_limit(wanted):
    """How many connections this process can hold, as the subject inherits its limit of open files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return wanted if most == resource.RLIM_INFINITY else min(wanted, most // 2)


def with_connections(world, running, count):
    """Resident memory with so many clients that have each been answered once and now say nothing."""
    request = f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {world.issuer.good}\r\n\r\n".encode()
    clients = []
    try:
        for first in range(0, count, CONNECTIONS):
            batch = [socket.create_connection(("127.0.0.1", running.port), timeout=20) for _ in range(min(CONNECTIONS, count - first))]
            clients += batch
            for client in batch:
                # A reset at the end, else each port stays taken for a minute.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sendall(request)
            for client in batch:
                answer = b""
                while BODY.encode() not in answer:
                    part = client.recv(65536)
                    if not part:
                        raise Failure(f"connection {len(clients)} was closed instead of answered")
                    answer += part
                if not answer.startswith(b"HTTP/1.1 200"):
                    raise Failure(f"connection {len(clients)} was answered with {answer[:40]!r}")
        time.sleep(0.5)
        return memory_mib(tree(running))
    except OSError as error:
        raise Failure(f"connection {len(clients)} of {count}: {error}")
    finally:
        for client in clients:
            client.close()


def turn(world, peer, options, with_memory):
    """Everything about one subject, once; what could not be had is told under "void". A fresh process for the load and another for the connections, so
    that neither sees the other's memory."""
    figures = {"loads": {}}
    running = world.begin(peer)
    try:
        if peer.parts:
            figures["ready_ms"] = running.ready_ms
            time.sleep(1)
            figures["idle_mib"] = memory_mib(tree(running))
        def put(kind):
            if kind in peer.loads:
                attempt(figures["loads"], kind, load, world, running, kind, options)
                trim(world, peer)

        put(ONE)
        put(MANY)
        if world.tools.bench and options.rate and (MANY in figures["loads"] or MANY not in peer.loads):
            # Before new tokens drive those out that it is measured with, as checking one takes longer than all the rest.
            attempt(figures, "latency", quietest, lambda: latency(world, running, options), options)
        if options.cold:
            put(COLD)
        figures.setdefault("void", []).extend(figures["loads"].pop("void", []))
    finally:
        running.end()
    if peer.parts and with_memory:
        attempt(figures, "connections_mib", in_a_fresh_process, world, peer, with_connections, options.idle)
    trim(world, peer)
    return figures


def in_a_fresh_process(world, peer, function, *arguments):
    running = world.begin(peer)
    try:
        return function(world, running, *arguments)
    finally:
        running.end()


def attempt(figures, name, function, *arguments):
    """A part that may fail without taking the others with it."""
    try:
        figures[name] = function(*arguments)
    except Exception as failure:
        figures.setdefault("void", []).append(str(failure) if isinstance(failure, Failure) else f"{name}: {failure!r}")


def trim(world, peer):
    """An access log of a load is some hundred MiB, and has told all it had to."""
    with contextlib.suppress(OSError):
        file = world.folder / f"{peer.name}.out"
        if file.stat().st_size > 2**20:
            os.truncate(file, 0)
