# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors
"""From the figures of each turn to results: JSON with every figure and its median, a line for the terminal, the table of the README."""
import datetime, json, os, pathlib, platform, re, statistics, subprocess, sys, textwrap

from measure import CONNECTIONS
from peers import COLD, MANY, NOTHING, ONE, ROOT, SESSION, TOKEN
from tokens import SESSIONS_EACH, USERS

LOAD_NAMES = {ONE: "one token", MANY: "10,000 tokens", COLD: "every token new"}
GROUPS = {NOTHING: "Nothing checked", TOKEN: "Token", SESSION: "Token, and session in Redis"}
BEGIN, END = "<!-- compare: begin, replaced by bench/compare/compare.py --readme -->", "<!-- compare: end -->"


def output(*command):
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = (done.stdout + done.stderr).strip()
    return text.splitlines()[0].strip() if text else None


def machine():
    def first(file, key):
        try:
            return next((line.split(":", 1)[1].strip() for line in pathlib.Path(file).read_text().splitlines() if line.startswith(key)), None)
        except OSError:
            return None

    memory = first("/proc/meminfo", "MemTotal") or "0 kB"
    return {
        "cpu": first("/proc/cpuinfo", "model name"), "cpus": os.cpu_count(), "memory_mib": int(memory.split()[0]) // 1024,
        "virtual": " hypervisor" in (first("/proc/cpuinfo", "flags") or ""), "kernel": f"{platform.system()} {platform.release()}",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME") if os.path.exists("/etc/os-release") else None,
    }


def versions(tools):
    paths, found = tools.paths, {}
    for name, arguments in (
        ("portcullis", ["--version"]), ("nginx", ["-v"]), ("haproxy", ["-v"]), ("envoy", ["--version"]), ("caddy", ["version"]), ("redis-server", ["--version"]),
        ("wrk", ["-v"]), ("openssl", ["version"])):
        text = output(paths[name], *arguments) if paths[name] else None
        numbers = re.findall(r"(?<![\w.])\d+\.\d+(?:\.\d+)?", (text or "").replace(paths[name] or "", ""))
        found[name] = numbers[0] if numbers else text
    found["portcullis"] = " ".join(filter(None, [found["portcullis"], output("git", "-C", ROOT, "describe", "--always", "--dirty")]))
    return {name: version for name, version in found.items() if version}


def summary(values):
    """Median, least and most of the turns that gave a figure, and all of them in the order of the turns."""
    there = [value for value in values if value is not None]
    if not there:
        return None
    return {"median": round(statistics.median(there), 4), "least": round(min(there), 4), "most": round(max(there), 4), "all": [v and round(v, 4) for v in values]}


def assemble(world, peers, turns, left_out, void, signature, options, command):
    def each(name, *keys):
        """A figure of each turn of a subject; None where that turn was void or has none."""
        found = []
        for figures in turns.get(name, []):
            for key in keys:
                figures = (figures or {}).get(key)
            found.append(figures)
        return found

    def against(values, other, operation):
        return [operation(mine, its) if mine is not None and its is not None else None for mine, its in zip(values, other)] if other else []

    subjects = []
    for peer in peers:
        subject = {"name": peer.name, "title": peer.title, "asks": peer.asks, "ours": peer.ours, "loads": {}}
        for kind in peer.loads:
            keys = ("cpu_us", "requests_per_second", "busy_percent", "others_percent")
            figures = {key: summary(each(peer.name, "loads", kind, key)) for key in keys}
            both = each(peer.name, "loads", kind, "cpu_us"), each(peer.name, "loads", kind, "base_cpu_us")
            figures["of_nginx"] = summary(against(*both, lambda mine, its: mine / its))
            if figures["cpu_us"]:
                subject["loads"][kind] = figures
        for key in ("p50_ms", "p99_ms", "lateness_p99_ms"):
            subject[key] = summary(each(peer.name, "latency", key))
        for key in ("p50_ms", "p99_ms"):
            subject[f"added_{key}"] = summary(against(each(peer.name, "latency", key), each("direct", "latency", key), lambda mine, direct: mine - direct))
        for key in ("ready_ms", "idle_mib", "connections_mib"):
            subject[key] = summary(each(peer.name, key))
        subjects.append(subject)
    measured = [part for of in turns.values() for figures in of if figures for part in [*figures["loads"].values(), figures.get("latency")] if part]
    awake = [part["awake"] for part in measured]
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"), "command": command, "machine": machine(),
        "versions": versions(world.tools),
        "settings": {
            "repeats": options.repeats, "seconds": options.seconds, "connections": CONNECTIONS, "rate": options.rate, "latency_seconds": options.latency_seconds,
            "idle_connections": options.idle, "algorithm": "RS256", "body_bytes": 1024, "sessions_in_redis": (USERS + options.users) * SESSIONS_EACH,
            "cold_tokens": options.cold, "idle_cpus_kept_awake": bool(awake) and all(awake),
        },
        "signature_us": summary(signature), "left_out": left_out, "void": void, "subjects": subjects,
    }


def write(results, file):
    file.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


def read(file):
    return json.loads(pathlib.Path(file).read_text())


def median(summary, digits=1, unit=""):
    return f"{summary['median']:,.{digits}f}{unit}" if summary else "–"


def span(summary, digits=2, unit=""):
    return f"{summary['median']:,.{digits}f} ({summary['least']:,.{digits}f}, {summary['most']:,.{digits}f}){unit}" if summary else "–"


def line(figures):
    """One turn, for who waits."""
    words = [f"{LOAD_NAMES[kind]} {load['cpu_us']:.1f} µs {load['requests_per_second']:,.0f}/s" for kind, load in figures["loads"].items()]
    noise = max((part["others_percent"] for part in [*figures["loads"].values(), figures.get("latency")] if part), default=0)
    if "latency" in figures:
        words.append(f"p99 {figures['latency']['p99_ms']:.3f} ms")
    words += [f"{figures[key]:.0f} {unit}" for key, unit in (("idle_mib", "MiB"), ("connections_mib", "MiB with connections"), ("ready_ms", "ms to ready")) if key in figures]
    words += [f"void: {why}" for why in figures["void"]]
    return ", ".join(words) + (f"; others used {noise:.0f} % of a CPU" if noise >= 1 else "")


def terminal(results):
    rows = [f"{'median of ' + str(results['settings']['repeats']) + ' (least, most)':50s}{'tokens':18s}{'CPU a request':>14s}  {'of nginx':22s}{'requests/s':>10s}"]
    for subject in results["subjects"]:
        for kind, load in subject["loads"].items():
            rows.append(f"{subject['title']:50s}{LOAD_NAMES[kind]:18s}{median(load['cpu_us'], 1, ' µs'):>14s}  {span(load['of_nginx']):22s}"
                        f"{median(load['requests_per_second'], 0):>10s}")
    rows.append(f"checking one RS256 signature: {median(results['signature_us'], 1, ' µs')}")
    noisy = max((load["others_percent"]["most"] for subject in results["subjects"] for load in subject["loads"].values()), default=0)
    if noisy > 5:
        rows.append(f"other programs used up to {noisy:.0f} % of a CPU: no figures of record")
    rows += [f"{kind}: {name}: {why}" for kind, which in (("left out", "left_out"), ("void", "void")) for name, why in results[which].items()]
    return "\n".join(rows)


def markdown(results):
    """The table of the README, a row a subject."""
    of_nginx = lambda load: span(load["of_nginx"]) if load else "–"
    rows = ["| | CPU a request: one token | …of nginx' | 10,000 tokens, of nginx' | every token new, of nginx' | requests/s: one token | p50 / p99 added "
            "| memory idle / with connections | start |",
            "|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for asks, title in GROUPS.items():
        subjects = [subject for subject in results["subjects"] if subject["asks"] == asks and subject["loads"]]
        if subjects:
            rows.append(f"| *{title}* | | | | | | | | |")
        for subject in subjects:
            one, many, cold = (subject["loads"].get(kind) for kind in (ONE, MANY, COLD))
            one = one or {"cpu_us": None, "of_nginx": None, "requests_per_second": None}
            name = f"**{subject['title']}**" if subject["ours"] else subject["title"]
            cells = [name, median(one["cpu_us"], 1, " µs"), of_nginx(one), of_nginx(many), of_nginx(cold), median(one["requests_per_second"], 0),
                     added(subject), f"{median(subject['idle_mib'], 0)} / {median(subject['connections_mib'], 0)} MiB", span(subject["ready_ms"], 0, " ms")]
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n\n" + textwrap.fill(caption(results) + " Every figure, and plots: `bench/results/compare.html`.", 160) + "\n"


def added(subject):
    figures = [subject["added_p50_ms"], subject["added_p99_ms"]]
    return " / ".join(f"{figure['median'] * 1000:,.0f}" for figure in figures) + " µs" if all(figures) else "–"


def caption(results):
    settings, at, has = results["settings"], results["machine"], results["versions"]
    names = {"portcullis": "Portcullis", "nginx": "nginx", "haproxy": "HAProxy", "envoy": "Envoy", "caddy": "Caddy", "redis-server": "Redis"}
    text = (f"{results['date']}: medians of {settings['repeats']} (least, most) of {settings['seconds']} s each; {', '.join(f'{names[n]} {has[n]}' for n in names if n in has)}; "
            f"{at['cpu']}, {at['cpus']} CPUs{' of a virtual machine' if at['virtual'] else ''}, {at['kernel']}. RS256 with a key of 2048 bits, of which one signature costs OpenSSL "
            f"{median(results['signature_us'], 1, ' µs')} to check, with its hash; {settings['connections']} connections, answers of 1 KiB, {settings['sessions_in_redis']:,} sessions in Redis.")
    text += (f" Idle processors were {'kept awake' if settings['idle_cpus_kept_awake'] else 'left to sleep'}. CPU is that of the gateway and its helpers, and not that of Redis. "
             f"Portcullis was built from its sources, the others are what PyPI and this system ({at['system'] or 'unknown'}) have. "
             "One token: the same one each time. Where a gateway's processor was not full, requests/s are a lower bound.")
    if results["void"]:
        text += f" Some figures are void: {', '.join(results['void'])}."
    if any(subject["added_p99_ms"] for subject in results["subjects"]):
        text += f" Added: p50 and p99 at {settings['rate']:,} requests/s, less the service's own."
    if settings["idle_connections"]:
        text += f" Memory: resident, what processes share once; idle and, in the first round, with {settings['idle_connections']:,} connections that have been answered once."
    if results["left_out"]:
        text += f" Left out: {', '.join(results['left_out'])}."
    return text


def put_into(file, table):
    text = file.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        sys.exit(f"{file} needs these two lines, with the table between them:\n{BEGIN}\n{END}")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    file.write_text(f"{before}{BEGIN}\n{table}{END}{after}")
