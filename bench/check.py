#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors
"""Whether portcullis-bench measures what wrk and h2load measure, on the same nginx in one run on this machine.

    bench/check.py [--bench PATH] [--repeats 5] [--seconds 3]

nginx (one worker, 1 KiB) has CPU 0, the load CPU 1. In each round all take turns: in HTTP/1.1 with 64 connections, in HTTP/2 (clear, prior
knowledge) with 16 connections of 8 streams. Two programs are compared within a round, as the machine is another one a minute later, and the median
of the rounds counts. Then the harness alone, in an open loop: its latency and its own lateness.

The exit code is 1 where it counts other requests than nginx does, but for those under way in the end; where it is more than 5 % slower than wrk, or than
h2load in HTTP/2, or needs more CPU time a request in HTTP/1.1 than 60,000 a second leave it; and where in HTTP/1.1 its p99 is less than half or more than
twice that of wrk under the same load, as a tail is the machine's more than anybody's. On a machine that does other things meanwhile throughput may well be
apart; the CPU time still says something. Shown and not judged are that h2load speaks HTTP/1.1, too, as wrk is the faster one, and the open loop, which
counts each request that a stall makes late where the others count one a connection. Needs nginx, wrk, h2load (nghttp2-client) and taskset.
"""
import argparse, collections, contextlib, json, os, pathlib, re, resource, shutil, signal, socket, statistics, subprocess, sys, tempfile, time, urllib.request

HERE = pathlib.Path(__file__).resolve().parent
CONNECTIONS, FLOOR, TOLERANCE, P99_FACTOR = 64, 60_000, 0.05, 2
H2_CONNECTIONS, H2_STREAMS = 16, 8
SERVER_CPU, LOAD_CPU = 0, 1
UNITS = {"us": 1e-3, "ms": 1, "s": 1e3}
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log warn;
worker_rlimit_nofile 8192; events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; http2_max_requests 100000000;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{http1}; location / {{ return 200 "{body}\\n"; }} location = /status {{ stub_status; }} }}
  server {{ listen 127.0.0.1:{http2} http2; location / {{ return 200 "{body}\\n"; }} }}
}}
"""

Figures = collections.namedtuple("Figures", "rate cpu p99")


def run(*command):
    """Its output, and the CPU seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run(["taskset", "-c", str(LOAD_CPU), *map(str, command)], capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return output, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def wrk(url, seconds):
    output, cpu = run("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", url)
    if "Non-2xx" in output or "Socket errors" in output:
        sys.exit("wrk got bad answers")
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", output).groups()
    requests = int(re.search(r"(\d+) requests in", output)[1])
    return Figures(float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1]), cpu / requests * 1e6, float(value) * UNITS[unit])


def h2load(url, seconds, *more):
    output, cpu = run("h2load", "-t1", f"-D{seconds}", *more, url)
    requests, failed = int(re.search(r"(\d+) done", output)[1]), int(re.search(r"(\d+) failed", output)[1])
    if failed or not requests:
        sys.exit(f"h2load got {failed} bad answers of {requests}")
    return Figures(float(re.search(r"finished in .*?, ([\d.]+) req/s", output)[1]), cpu / requests * 1e6, None)


def report_of(bench, url, seconds, *more):
    output, cpu = run(bench, "run", "--url", url, "--duration", f"{seconds}s", *more)
    report = json.loads(output)
    return report, cpu / report["requests"] * 1e6


def served(status):
    """Requests that nginx has begun to answer until now, this one among them, by its own count."""
    with urllib.request.urlopen(status) as answer:
        return int(answer.read().split()[9])


def ours(bench, url, seconds, status, under_way, *more):
    before = served(status)
    report, cpu = report_of(bench, url, seconds, *more)
    if report["errors"]:
        sys.exit(f"not every answer was good: {report['errors']}")
    uncounted = served(status) - before - 1 - report["requests"]
    if not 0 <= uncounted <= under_way:
        sys.exit(f"portcullis-bench counts {report['requests']} requests, nginx {uncounted} more")
    return Figures(report["requests_per_second"], cpu, report["latency_ms"]["p99"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default=str(HERE.parent / ".build/release/portcullis-bench"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args()
    for tool in ("nginx", "wrk", "h2load", "taskset", options.bench):
        if not shutil.which(tool):
            sys.exit(f"{tool} is needed and not there")
    if os.cpu_count() < 2:
        sys.exit("two processors are needed: one for nginx, one for the load")
    with tempfile.TemporaryDirectory(prefix="portcullis-check-") as name, nginx(pathlib.Path(name)) as (http1, http2):
        sys.exit(compare(f"http://127.0.0.1:{http1}/", f"http://127.0.0.1:{http2}/", options))


@contextlib.contextmanager
def nginx(folder):
    """Its ports for HTTP/1.1 and HTTP/2."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = one.getsockname()[1], two.getsockname()[1]
    folder.chmod(0o755)  # nginx' workers are another user where it is started as root
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, http1=ports[0], http2=ports[1], body="x" * 1023))
    process = subprocess.Popen(
        ["taskset", "-c", str(SERVER_CPU), "nginx", "-e", str(folder / "nginx.log"), "-c", str(configuration)],
        stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 15
        for port in ports:
            while True:
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"nginx does not listen: {(folder / 'nginx.log').read_text()}")
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                time.sleep(0.02)
        yield ports
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def compare(http1, http2, options):
    bench, seconds, status = options.bench, options.seconds, http1 + "status"
    rounds = [{
        "HTTP/1.1": {
            "portcullis-bench": ours(bench, http1, seconds, status, CONNECTIONS, "--connections", CONNECTIONS),
            "wrk": wrk(http1, seconds),
            "h2load": h2load(http1, seconds, "--h1", f"-c{CONNECTIONS}"),
        },
        "HTTP/2": {
            "portcullis-bench": ours(
                bench, http2, seconds, status, H2_CONNECTIONS * H2_STREAMS, "--connections", H2_CONNECTIONS, "--http2", "--streams", H2_STREAMS),
            "h2load": h2load(http2, seconds, f"-c{H2_CONNECTIONS}", f"-m{H2_STREAMS}"),
        },
    } for _ in range(options.repeats)]
    median = {}
    for protocol, programs in rounds[0].items():
        print(f"{protocol}, closed loop, medians of {options.repeats} (least, most)")
        for name in programs:
            figures = [each[protocol][name] for each in rounds]
            rates, tails = [figure.rate for figure in figures], [figure.p99 for figure in figures if figure.p99]
            mid = median[protocol, name] = Figures(statistics.median(rates), statistics.median(f.cpu for f in figures), None)
            tail = f"   p99 {statistics.median(tails):.2f} ms" if tails else ""
            print(f"  {name:18s} {mid.rate:9.0f} requests/s ({min(rates):.0f}, {max(rates):.0f})   {mid.cpu:.1f} µs of CPU a request{tail}")
    wrong = []
    for share in (0.1, 0.5):
        rate = round(median["HTTP/1.1", "wrk"].rate * share)
        report, _ = report_of(bench, http1, seconds, "--rate", rate, "--warmup", "500ms")
        latency, lateness = report["latency_ms"], report["lateness_ms"]
        print(f"open loop, {rate} requests/s: latency p50 {latency['p50']:.3f} p99 {latency['p99']:.3f} ms; "
              f"lateness p50 {lateness['p50']:.3f} p99 {lateness['p99']:.3f} ms" + (f"; errors {report['errors']}" if report["errors"] else ""))
    tails = statistics.median(each["HTTP/1.1"]["portcullis-bench"].p99 / each["HTTP/1.1"]["wrk"].p99 for each in rounds)
    print(f"HTTP/1.1: p99 {tails - 1:+.1%} beside wrk")
    if not 1 / P99_FACTOR <= tails <= P99_FACTOR:
        wrong.append(f"HTTP/1.1: p99 is {tails:.1f} times wrk's")
    for protocol, other, judged in (("HTTP/1.1", "wrk", True), ("HTTP/1.1", "h2load", False), ("HTTP/2", "h2load", True)):
        apart = statistics.median(each[protocol]["portcullis-bench"].rate / each[protocol][other].rate for each in rounds) - 1
        print(f"{protocol}: {apart:+.1%} beside {other}")
        if judged and apart < -TOLERANCE:
            wrong.append(f"{protocol}: more than {TOLERANCE:.0%} slower than {other}")
    if 1e6 / median["HTTP/1.1", "portcullis-bench"].cpu < FLOOR:
        wrong.append(f"HTTP/1.1: the CPU time is not enough for {FLOOR} requests/s")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    main()
