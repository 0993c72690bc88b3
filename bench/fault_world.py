# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors
"""Three gateways on a Redis with replicas and Sentinels, in front of a service: all processes, ports and network namespaces of bench/faults.py."""
import base64, contextlib, ctypes, hashlib, http.server, json, os, secrets, shutil, signal, socket, subprocess, sys, threading, time, urllib.request

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
EDGES, REPLICAS, SENTINELS = 3, 2, 3
PATIENCE = 30
MARK = "PORTCULLIS_FAULTS_NAMESPACE"
GATEWAY = """
listeners: [{{address: "{address}:{port}"}}]
admin: {{address: "{address}:{admin}", token: {{file: admin-token}}}}
workers: 1
store: {{redis: {{mode: sentinel, sentinel_master: {master}, addresses: [{sentinels}], wait_replicas: 1}}}}
revocation: {{mode: {mode}{grace}}}
sessions: {{signing_key: {{file: signing.pem}}}}
upstreams: {{service: {{endpoints: ["{service_address}:{service}"]}}}}
routes: [{{path: /, upstream: service}}]
logging: {{level: warning, access_log: false}}
"""


def enter_namespace():
    """Starts this program again in network and mount namespaces of its own. Returns only there, and where it is not permitted: with the reason."""
    if os.environ.get(MARK):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        # Where ip-netns(8) keeps the names of namespaces: those of the machine are left alone.
        subprocess.run(["mount", "-t", "tmpfs", "none", "/run"], check=True)
        return None
    for tool in ("unshare", "ip", "nsenter", "mount"):
        if not shutil.which(tool):
            return f"{tool} is needed and not there"
    # As root, or as the root of a user namespace where everybody may have one.
    for kind in (["unshare", "--net", "--mount"], ["unshare", "--net", "--mount", "--user", "--map-root-user"]):
        probe = "ip link set lo up && mount -t tmpfs none /run && ip netns add probe && ip link add one type veth peer name two netns probe"
        if subprocess.run([*kind, "sh", "-c", probe], capture_output=True).returncode == 0:
            os.execvpe(kind[0], [*kind, sys.executable, *sys.argv], {**os.environ, MARK: "1"})
    return "network namespaces are not permitted here (run it as root, or where unprivileged user namespaces are allowed)"


def wait(what, condition):
    deadline = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {PATIENCE} s: {what}")
        time.sleep(0.02)


def free_port(address):
    with socket.create_server((address, 0)) as probe:
        return probe.getsockname()[1]


class Service(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        """Gateways end their connections as they like."""


class Handler(http.server.BaseHTTPRequestHandler):
    """200, or a WebSocket that says nothing."""
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        key = self.headers.get("Sec-WebSocket-Key")
        if key:
            digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
            self.send_response(101)
            for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", base64.b64encode(digest).decode())):
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                while self.connection.recv(4096):
                    pass
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Running:
    def __init__(self, process, port):
        self.process, self.port = process, port


class Edge(Running):
    """A gateway. `back` is the name of its link to Redis, on this side, where it has one."""

    def __init__(self, process, address, port, admin, back):
        super().__init__(process, port)
        self.url, self.admin_url, self.back = f"http://{address}:{port}", f"http://{address}:{admin}", back


class World:
    MASTER = "mymaster"

    def __init__(self, folder, binary, mode, grace, apart):
        """`apart`: each gateway has a network namespace, with one link for its clients and service and another one for Redis."""
        self.folder, self.binary, self.mode, self.apart = folder, binary, mode, apart
        self.grace = f", when_unavailable: allow_recent, grace: {grace}" if grace else ""
        self.processes, self.names = [], []
        self.address, self.front = ("10.78.0.1", "10.77.0.1") if apart else ("127.0.0.1", "127.0.0.1")

    def __enter__(self):
        try:
            self.begin()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def begin(self):
        if self.apart:
            for address in (self.address, self.front):
                self.ip(f"address add {address}/32 dev lo")
        self.service = Service((self.front, 0), Handler)
        threading.Thread(target=self.service.serve_forever, daemon=True).start()
        (self.folder / "admin-token").touch(0o600)
        (self.folder / "admin-token").write_text(secrets.token_urlsafe(32))
        subprocess.run([self.binary, "keys", "generate", "--algorithm", "EdDSA", "--out", str(self.folder / "signing.pem")], check=True)
        primary = self.redis("primary")
        self.servers = [primary] + [self.redis(f"replica{n}", "--replicaof", self.address, primary.port) for n in range(REPLICAS)]
        wait("the replicas are there", lambda: self.ask(primary, "info", "replication").count("state=online") == REPLICAS)
        self.sentinels = [self.sentinel(n, primary.port) for n in range(SENTINELS)]
        for sentinel in self.sentinels:
            wait("the Sentinels know all", lambda: self.knows_all(sentinel))
        self.edges = [self.edge(n) for n in range(EDGES)]
        for edge in self.edges:
            wait("a gateway is ready", lambda: urllib.request.urlopen(f"{edge.admin_url}/readyz", timeout=1).status == 200)
        # In a Redis that was empty just now logouts wait for gateways that it may have forgotten: that is over, too, before anything breaks.
        wait("logouts are quick", self.logs_out_quickly)

    def logs_out_quickly(self):
        session = json.load(self.call("POST", "", b"{}"))["session_id"]
        made = time.monotonic()
        self.call("DELETE", f"/{session}").close()
        return time.monotonic() - made < 0.2

    def call(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {(self.folder / 'admin-token').read_text()}", "Content-Type": "application/json"}
        url = f"{self.edges[0].admin_url}/v1/users/first/sessions{path}"
        return urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=5)

    def end(self):
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.wait()
        if hasattr(self, "service"):
            self.service.shutdown()
            self.service.server_close()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name])
        if self.apart:
            for address in (self.address, self.front):
                subprocess.run(["ip", "address", "del", f"{address}/32", "dev", "lo"])

    def spawn(self, name, command):
        with open(self.folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))  # however this one ends
        self.processes.append(process)
        return process

    def ip(self, words):
        subprocess.run(["ip", *words.split()], check=True)

    # Redis

    def redis(self, name, *more):
        port, home = free_port(self.address), self.folder / name
        home.mkdir()
        running = Running(self.spawn(name, [
            "redis-server", "--port", port, "--bind", self.address, "--protected-mode", "no", "--save", "", "--dir", home,
            "--repl-diskless-sync-delay", "0", *more]), port)
        wait(f"{name} answers", lambda: self.ask(running, "ping") == "PONG")
        return running

    def sentinel(self, number, primary):
        port, file = free_port(self.address), self.folder / f"sentinel{number}.conf"
        file.write_text(
            f"port {port}\nbind {self.address}\nprotected-mode no\ndir {self.folder}\n"
            f"sentinel monitor {self.MASTER} {self.address} {primary} {SENTINELS // 2 + 1}\n"
            f"sentinel down-after-milliseconds {self.MASTER} 1000\nsentinel failover-timeout {self.MASTER} 3000\n")
        running = Running(self.spawn(f"sentinel{number}", ["redis-server", file, "--sentinel"]), port)
        wait("a Sentinel answers", lambda: self.ask(running, "ping") == "PONG")
        return running

    def knows_all(self, sentinel):
        words = self.ask(sentinel, "sentinel", "master", self.MASTER).splitlines()
        state = dict(zip(words[::2], words[1::2]))
        return int(state["num-slaves"]) == REPLICAS and int(state["num-other-sentinels"]) == SENTINELS - 1

    def ask(self, running, *words):
        command = ["redis-cli", "-h", self.address, "-p", str(running.port), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()

    # Gateways

    def edge(self, number):
        address, prefix = (self.namespace(number), ["nsenter", f"--net=/run/netns/edge{number}"]) if self.apart else ("127.0.0.1", [])
        # In a namespace of their own all ports are free.
        port, admin = (8080, 9180) if self.apart else (free_port(address), free_port(address))
        file = self.folder / f"edge{number}.yaml"
        file.write_text(GATEWAY.format(
            address=address, port=port, admin=admin, master=self.MASTER, mode=self.mode, grace=self.grace, service_address=self.front,
            service=self.service.server_port, sentinels=", ".join(f'"{self.address}:{sentinel.port}"' for sentinel in self.sentinels)))
        process = self.spawn(f"edge{number}", [*prefix, self.binary, "serve", "--config", file])
        return Edge(process, address, port, admin, f"back{number}" if self.apart else None)

    def namespace(self, number):
        """The address of its clients' side."""
        name = f"edge{number}"
        self.ip(f"netns add {name}")
        self.names.append(name)
        self.ip(f"-n {name} link set lo up")
        for kind, net, far in (("front", 77, self.front), ("back", 78, self.address)):
            near, other = f"10.{net}.{number + 1}.1", f"10.{net}.{number + 1}.2"
            self.ip(f"link add {kind}{number} type veth peer name {kind} netns {name}")
            self.ip(f"address add {near}/30 dev {kind}{number}")
            self.ip(f"link set {kind}{number} up")
            self.ip(f"-n {name} address add {other}/30 dev {kind}")
            self.ip(f"-n {name} link set {kind} up")
            self.ip(f"-n {name} route add {far} via {near}")
        return f"10.77.{number + 1}.2"
