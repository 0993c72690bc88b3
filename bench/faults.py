#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors
"""Whether logouts hold while something breaks: `portcullis-bench revocation` against three gateways on a Redis with two replicas and three Sentinels.

    bench/faults.py [--faults pause,failover,partition] [--binary PATH] [--bench PATH] [--mode tracked] [--grace 30s]
                    [--logouts 40] [--reports FOLDER]

    pause       one gateway is stopped (SIGSTOP), and goes on three seconds later
    failover    Redis' primary is killed, and the Sentinels make one of the replicas the primary
    partition   one gateway does not reach Redis for three seconds, while its clients reach it

Each fault is what is given to `--during`, a command of the shell that is printed: the same works with a fleet of your own. Half of the logouts are
done before it; then ten sessions that are in use are logged out while it runs, and the rest after it.

All runs in a network namespace of its own (unshare(1)), the gateways of the partition in one each (ip-netns(8)): nothing of it stays. Where that is
not permitted, as in many containers, the partition is left out, which is said, and cannot be asked for. The exit code is 1 where a request passed
after the logout's answer, a WebSocket stayed open, an edge could not be judged, nothing was logged out while it was broken, or the fault did not
come about. Needs redis-server with redis-cli; for the partition ip (iproute2) and nsenter.
"""
import argparse, json, os, pathlib, shutil, subprocess, sys, tempfile

from fault_world import World, enter_namespace

HERE = pathlib.Path(__file__).resolve().parent
FAULTS = ("pause", "failover", "partition")
BROKEN = 1  # the edge that is paused or cut off


def fault(name, world):
    """The command that breaks something and mends it again, and exits with 0 if it did."""
    if name == "pause":
        gateway = world.edges[BROKEN].process.pid
        return f"kill -STOP {gateway} && sleep 3 && kill -CONT {gateway}"
    if name == "failover":
        ask = f"redis-cli -h {world.address} -p {world.sentinels[0].port} sentinel get-master-addr-by-name {world.MASTER}"
        primary = world.servers[0]
        # The sentinels answer with the address and the port, in two lines; nothing is no answer.
        return f"kill -KILL {primary.process.pid}; until {ask} | sed -n 2p | grep -v -x {primary.port}; do sleep 0.1; done; sleep 1"
    link = world.edges[BROKEN].back
    return f"ip link set {link} down && sleep 3 && ip link set {link} up"


def came_about(name, report):
    """Whether the report shows the fault: a gateway that goes on as if nothing had happened has not met it."""
    edge = report["edges"][BROKEN]
    if name == "failover":
        return True  # its command ends well only when there is another primary
    if name == "partition":
        return edge["errors"].get("status_503", 0) + edge["refusals"].get("status_503", 0) > 0
    # A logout waits for a gateway that is silent.
    return report["during"]["logout_ms"]["max"] > 500


def measure(name, options, folder):
    """What is wrong, in words."""
    with World(folder, options.binary, options.mode, options.grace, apart=name == "partition") as world:
        command = fault(name, world)
        print(f"{name}: {command}", flush=True)
        report = pathlib.Path(options.reports or folder) / f"revocation-{name}"
        arguments = [
            options.bench, "revocation", "--edges", ",".join(edge.url for edge in world.edges), "--admin", world.edges[0].admin_url,
            "--token-file", str(folder / "admin-token"), "--websocket-path", "/socket", "--logouts", str(options.logouts),
            "--during", command, "--json", f"{report}.json", "--html", f"{report}.html"]
        # What it says goes where this goes; it ends with 1 where a logout did not hold.
        code = subprocess.run(arguments).returncode
        if code not in (0, 1):
            return [f"portcullis-bench ended with {code}"]
        found = json.loads(pathlib.Path(f"{report}.json").read_text())
    return told(name, found, code)


def told(name, found, code):
    during, wrong = found["during"], []
    for edge in found["edges"]:
        last, cut = (f"{times['max']:.1f} ms" if times else "never" for times in (edge["last_2xx_ms"], edge["websocket_cut_ms"]))
        print(f"  {edge['url']}: {edge['requests']} requests, {edge['late_2xx']} late 2xx; after the logout's answer at most: "
              f"last 2xx {last}, WebSockets cut {cut}", flush=True)
        if edge["unconfirmed"]:
            wrong.append(f"{edge['url']} could not be judged after {edge['unconfirmed']} logouts")
    print(f"  {found['logouts']} logouts, answered in {found['logout_ms']['p50']:.1f} ms (median); {during['logouts']} of them while it was broken "
          f"({during['duration_s']:.1f} s): {(during['logout_from_first_try_ms'] or found['logout_from_first_try_ms'])['max']:.0f} ms at most", flush=True)
    if code:
        wrong.append("a logout did not hold")
    if found["abandoned"]:
        wrong.append(f"{found['abandoned']} sessions could not be logged out")
    if during["exit_code"]:
        wrong.append(f"the command ended with {during['exit_code']}")
    elif not during["logouts"]:
        wrong.append("nothing was logged out while it was broken")
    elif not came_about(name, found):
        wrong.append("the fault did not come about")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=str(HERE.parent / ".build/release/portcullis"))
    parser.add_argument("--bench", default=str(HERE.parent / ".build/release/portcullis-bench"))
    parser.add_argument("--faults", help="some of pause, failover, partition, with commas between them; all that are permitted if not given")
    parser.add_argument("--mode", choices=("strict", "tracked"), default="tracked")
    parser.add_argument("--grace", help="as 30s: gateways that let sessions pass so long without Redis (allow_recent), as the contrast")
    parser.add_argument("--logouts", type=int, default=40)
    parser.add_argument("--reports", help="a folder that is there, for the reports in JSON and HTML")
    options = parser.parse_args()
    faults = options.faults.split(",") if options.faults else list(FAULTS)
    for name in faults:
        if name not in FAULTS:
            sys.exit(f"{name} is no fault: {', '.join(FAULTS)} are")
    for tool in ("redis-server", "redis-cli", options.binary, options.bench):
        if not shutil.which(tool):
            sys.exit(f"{tool} is needed and not there")
    # They are started in other folders.
    options.binary, options.bench = (os.path.abspath(shutil.which(program)) for program in (options.binary, options.bench))
    obstacle = enter_namespace()
    if obstacle and "partition" in faults:
        if options.faults:
            sys.exit(f"partition: {obstacle}")
        print(f"partition: left out: {obstacle}", flush=True)
        faults.remove("partition")
    failed = False
    for name in faults:
        with tempfile.TemporaryDirectory(prefix="portcullis-faults-") as folder:
            for line in measure(name, options, pathlib.Path(folder)):
                print(f"{name}: {line}", file=sys.stderr)
                failed = True
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
