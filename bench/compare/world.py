# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors
"""The processes of a comparison: on which processor and port they are, how they begin and end, what is in Redis."""
import contextlib, dataclasses, http.client, os, pathlib, re, signal, socket, subprocess, time

import tokens
from peers import BASE, HERE, PEERS, Part

PROXY_CPU, OTHER_CPU = 0, 1
PATH = "/api/resource"
BODY = "abcdefghijklmnopqrstuvwxyz012345" * 32


class Failure(Exception):
    """A subject that does not run or does not do what it should: it is left out, the others go on."""


def fill(text, values, blocks):
    """A template: lines between `#if NAME` and `#end` (or `#else`) stay where the block is used, <<name>> is a value."""
    kept, used = [], []
    for line in text.splitlines():
        word = line.strip()
        if word.startswith("#if "):
            used.append(word[4:] in blocks)
        elif word == "#else":
            used[-1] = not used[-1]
        elif word == "#end":
            used.pop()
        elif all(used):
            kept.append(line)
    return re.sub(r"<<(\w+)>>", lambda match: str(values[match[1]]), "\n".join(kept)) + "\n"


def ask(port, token, timeout=5):
    """One request on a connection of its own: status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", PATH, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Running:
    """A subject that was started."""

    def __init__(self, port, processes=()):
        self.port, self.processes, self.ready_ms = port, list(processes), None

    def end(self):
        for stop, patience in ((signal.SIGTERM, 3), (signal.SIGKILL, 10)):
            for process in self.processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, stop)
            deadline = time.monotonic() + patience
            with contextlib.suppress(subprocess.TimeoutExpired):
                for process in self.processes:
                    process.wait(max(0, deadline - time.monotonic()))
                return


class World:
    def __init__(self, folder, issuer, tools, users):
        self.folder, self.issuer, self.tools = pathlib.Path(folder), issuer, tools
        self.next_port, self.ports, self.infrastructure = 18_000, {}, []
        os.sched_setaffinity(0, {OTHER_CPU})
        self.values = {
            "folder": self.folder, "peers": HERE / "peers", "body": BODY, "modules": tools.modules, "lua_libraries": tools.lua_libraries,
            "public_key": issuer.public_key, "key_set": issuer.key_set, "issuer": tokens.ISSUER, "audience": tokens.AUDIENCE, "prefix": tokens.PREFIX,
            "service": self.port("service"), "redis": self.port("redis"),
        }
        (self.folder / "haproxy_session.lua").write_text(fill((HERE / "peers/haproxy_session.lua").read_text(), self.values, ()))
        self.begin_infrastructure(users)

    def port(self, name):
        """A free port below those that outgoing connections get, of which there are many."""
        while name not in self.ports:
            self.next_port += 1
            with contextlib.suppress(OSError), socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", self.next_port))
                self.ports[name] = self.next_port
        return self.ports[name]

    def spawn(self, name, command, cpu):
        """The child inherits the processor, so that no other program runs before it and its start is its own."""
        environment = {**os.environ, "GOMAXPROCS": "1", "HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)}
        os.sched_setaffinity(0, {cpu})
        try:
            with open(self.folder / f"{name}.out", "ab") as output:
                return subprocess.Popen(
                    [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder, env=environment,
                    start_new_session=True)
        finally:
            os.sched_setaffinity(0, {OTHER_CPU})

    def command(self, part, name, port, helper=None):
        values = {**self.values, "name": name, "port": port, "helper": helper, "admin": self.port(f"{name} admin")}
        file = self.folder / f"{name}{pathlib.Path(part.template).suffix}"
        file.write_text(fill((HERE / "peers" / part.template).read_text(), values, part.blocks))
        program = self.tools.paths[part.software]
        return {
            "nginx": [program, "-e", self.folder / f"{name}.log", "-c", file],
            "haproxy": [program, "-db", "-f", file],
            "envoy": [program, "-c", file, "--concurrency", "1", "--disable-hot-restart", "-l", "error"],
            "caddy": [program, "run", "--adapter", "caddyfile", "--config", file],
            "portcullis": [program, "serve", "--config", file],
        }[part.software]

    def begin(self, peer):
        """The subject's processes, once a good token has been answered with 200."""
        if not peer.parts:
            return Running(self.ports["service"])
        running = Running(self.port(peer.name))
        *helpers, front = peer.parts
        commands = [(f"{peer.name}-helper{n}", self.command(part, f"{peer.name}-helper{n}", self.port(f"{peer.name} helper"))) for n, part in enumerate(helpers)]
        commands.append((peer.name, self.command(front, peer.name, running.port, self.ports.get(f"{peer.name} helper"))))
        started = time.perf_counter()
        try:
            running.processes = [self.spawn(name, command, PROXY_CPU) for name, command in commands]
            self.wait(running, [name for name, _ in commands])
        except BaseException:
            running.end()
            raise
        running.ready_ms = (time.perf_counter() - started) * 1000
        return running

    def wait(self, running, names, seconds=30):
        deadline, status = time.monotonic() + seconds, None
        while time.monotonic() < deadline:
            for name, process in zip(names, running.processes):
                if process.poll() is not None:
                    raise Failure(f"{name} ended with {process.returncode}: {self.last_words(name)}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, _ = ask(running.port, self.issuer.good, timeout=2)
                if status == 200:
                    return
            time.sleep(0.0005)
        raise Failure(f"{names[-1]} gives no 200 within {seconds} s, but {status or 'no answer'}: {self.last_words(names[-1])}")

    def last_words(self, name):
        lines = [line for file in (f"{name}.out", f"{name}.log") if (self.folder / file).exists() for line in (self.folder / file).read_text().splitlines()]
        return " | ".join(lines[-3:]) or "it said nothing"

    def begin_base(self):
        """nginx that only proxies, on the processor of those who are compared with it: it waits while it is not its turn."""
        self.base = self.begin(dataclasses.replace(next(peer for peer in PEERS if peer.name == BASE), name="base"))
        self.infrastructure.append(self.base)

    def begin_infrastructure(self, users):
        service = self.command(Part.of("nginx", "service"), "service", self.ports["service"])
        redis = [self.tools.paths["redis-server"], "--port", self.ports["redis"], "--bind", "127.0.0.1", "--save", "", "--dir", self.folder]
        for name, command in (("service", service), ("redis", redis)):
            self.infrastructure.append(Running(self.ports[name], [self.spawn(name, command, OTHER_CPU)]))
            self.wait_for_port(name)
        # Redis' own name for a user's sessions is Portcullis'; the peers ask for the same sets.
        own = (f"SADD {tokens.PREFIX}{{{tokens.user(n)}}} {' '.join(tokens.session(n, s) for s in range(tokens.SESSIONS_EACH))}" for n in range(tokens.USERS))
        others = (f"SADD {tokens.PREFIX}{{other{n}}} a{n} b{n} c{n}" for n in range(users))
        for commands in (own, others):
            self.redis(commands)

    def wait_for_port(self, name):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                return socket.create_connection(("127.0.0.1", self.ports[name]), timeout=1).close()
            time.sleep(0.01)
        raise SystemExit(f"{name} does not listen: {self.last_words(name)}")

    def redis(self, commands):
        """Commands with a number as the answer, a thousand at a time."""
        commands = list(commands)
        with socket.create_connection(("127.0.0.1", self.ports["redis"])) as connection, connection.makefile("rb") as answers:
            for first in range(0, len(commands), 1000):
                batch = commands[first:first + 1000]
                connection.sendall("".join(command + "\r\n" for command in batch).encode())
                for command in batch:
                    answer = answers.readline()
                    if not answer.startswith(b":"):
                        raise SystemExit(f"Redis answered {command[:60]} with {answer!r}")

    def end(self):
        for running in self.infrastructure:
            running.end()
