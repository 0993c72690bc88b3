#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors
"""Whether portcullis-bench measures what wrk and h2load measure, on the same nginx in one run on this machine.

    bench/check.py [--bench PATH] [--repeats 5] [--seconds 3]

nginx (one worker, 1 KiB) has CPU 0, the load CPU 1. All take turns, in a closed loop of 64 connections. Then the harness alone, in an open loop:
its latency and its own lateness. The exit code is 1 where it needs more CPU time a request than 60,000 a second leave it, or the medians are more
than 5 % apart: on a machine that does other things meanwhile they may well be, and the CPU time still says something. Needs nginx, wrk, h2load
(nghttp2-client) and taskset.
"""
import argparse, json, pathlib, re, resource, shutil, statistics, subprocess, sys, tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "compare"))
from compare import World

HERE = pathlib.Path(__file__).resolve().parent
CONNECTIONS, FLOOR, TOLERANCE = 64, 60_000, 0.05
UNITS = {"us": 1e-3, "ms": 1, "s": 1e3}


def run(*command):
    """Its output, and the CPU seconds that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run(["taskset", "-c", "1", *map(str, command)], capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return output, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def wrk(url, seconds):
    """Requests a second, microseconds of CPU a request, and the 99th percentile in milliseconds."""
    output, cpu = run("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", url)
    value, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", output).groups()
    requests = int(re.search(r"(\d+) requests in", output)[1])
    return float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1]), cpu / requests * 1e6, float(value) * UNITS[unit]


def h2load(url, seconds):
    output, cpu = run("h2load", "--h1", "-t1", f"-c{CONNECTIONS}", f"-D{seconds}", url)
    requests = int(re.search(r"(\d+) done", output)[1])
    return float(re.search(r"finished in .*?, ([\d.]+) req/s", output)[1]), cpu / requests * 1e6, None


def ours(bench, url, seconds, *more):
    output, cpu = run(bench, "run", "--url", url, "--duration", f"{seconds}s", *more)
    report = json.loads(output)
    if report["errors"]:
        sys.exit(f"not every answer was good: {report['errors']}")
    return report, cpu / report["requests"] * 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", default=str(HERE.parent / ".build/release/portcullis-bench"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    options = parser.parse_args()
    for tool in ("nginx", "wrk", "h2load", "taskset", options.bench):
        if not shutil.which(tool):
            sys.exit(f"{tool} is needed and not there")
    with tempfile.TemporaryDirectory(prefix="portcullis-check-") as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        world = World(options.bench, folder)
        try:
            world.nginx("service", world.ports["service"], 'return 200 "' + "x" * 1023 + '\\n";', 0)
            sys.exit(compare(f"http://127.0.0.1:{world.ports['service']}/", options))
        finally:
            world.end()


def compare(url, options):
    figures = {"portcullis-bench": [], "wrk": [], "h2load": []}
    for _ in range(options.repeats):
        report, cpu = ours(options.bench, url, options.seconds, "--connections", CONNECTIONS)
        figures["portcullis-bench"].append((report["requests_per_second"], cpu, report["latency_ms"]["p99"]))
        for name, tool in (("wrk", wrk), ("h2load", h2load)):
            figures[name].append(tool(url, options.seconds))
    print(f"closed loop, {CONNECTIONS} connections, medians of {options.repeats} (least, most)")
    rates = {name: [rate for rate, _, _ in values] for name, values in figures.items()}
    cpus = {name: statistics.median(cpu for _, cpu, _ in values) for name, values in figures.items()}
    for name, values in rates.items():
        tails = [tail for _, _, tail in figures[name] if tail]
        tail = f"   p99 {statistics.median(tails):.2f} ms" if tails else ""
        print(f"  {name:18s} {statistics.median(values):9.0f} requests/s ({min(values):.0f}, {max(values):.0f})   "
              f"{cpus[name]:.1f} µs of CPU a request{tail}")
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for share in (0.1, 0.5):
        rate = round(medians["wrk"] * share)
        report, _ = ours(options.bench, url, options.seconds, "--rate", rate)
        latency, lateness = report["latency_ms"], report["lateness_ms"]
        print(f"open loop, {rate} requests/s: latency p50 {latency['p50']:.3f} p99 {latency['p99']:.3f} ms; "
              f"lateness p50 {lateness['p50']:.3f} p99 {lateness['p99']:.3f} ms")
    own = medians.pop("portcullis-bench")
    apart = {name: own / other - 1 for name, other in medians.items()}
    print("apart: " + ", ".join(f"{name} {share:+.1%}" for name, share in apart.items()))
    return 0 if 1e6 / cpus["portcullis-bench"] >= FLOOR and all(abs(share) <= TOLERANCE for share in apart.values()) else 1


if __name__ == "__main__":
    main()
