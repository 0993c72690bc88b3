# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors
"""Results as one page that needs nothing else: bars in SVG, every figure in a table, for light and dark."""
import html

import report
from peers import BASE, COLD, MANY, ONE

LABEL, PLOT, VALUE = 320, 430, 210  # the columns of a chart, in its own units
BAR, GAP, ROW_GAP, HEAD = 13, 3, 10, 26

STYLE = """
:root { color-scheme: light dark; --paper: #fcfcfb; --ink: #1c1d1f; --soft: #62666d; --line: #dcdde0; --peer: #a3a8b0; --peer-2: #bcc0c6; --peer-3: #d3d6da;
  --ours: #1f6fd6; --ours-2: #5b97e2; --ours-3: #97bfee; --whisker: #33363b; --base: #c2571a; }
@media (prefers-color-scheme: dark) { :root { --paper: #17181a; --ink: #ececee; --soft: #a2a6ad; --line: #36383d; --peer: #7c828b; --peer-2: #646a73; --peer-3: #4e535b;
  --ours: #5a9df2; --ours-2: #3f78c2; --ours-3: #2f5890; --whisker: #e4e5e8; --base: #ee9560; } }
body { background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .2rem; } p { margin: .2rem 0 .8rem; max-width: 48rem; } .soft { color: var(--soft); }
figure { margin: 0; overflow-x: auto; } svg { display: block; min-width: 44rem; width: 100%; height: auto; } svg text { fill: var(--ink); font: 13px system-ui, sans-serif; }
svg .group { fill: var(--soft); font-weight: 600; } svg .ours { font-weight: 600; } svg .soft { fill: var(--soft); font-size: 11.5px; } svg .figure { font-variant-numeric: tabular-nums; }
.peer-0 { fill: var(--peer); } .peer-1 { fill: var(--peer-2); } .peer-2 { fill: var(--peer-3); } .ours-0 { fill: var(--ours); } .ours-1 { fill: var(--ours-2); } .ours-2 { fill: var(--ours-3); }
.whisker { stroke: var(--whisker); stroke-width: 1.2; } .base { stroke: var(--base); stroke-dasharray: 4 3; } svg .base-name { fill: var(--base); font-size: 11.5px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; } th, td { border-bottom: 1px solid var(--line); padding: .25rem .45rem; text-align: right; white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; } th:first-child, td:first-child, .left td, .left th { text-align: left; } .left td { white-space: normal; } tr.ours td:first-child { font-weight: 600; }
code { font-size: .92em; overflow-wrap: anywhere; }
"""


def chart(results, series, unit, digits, base=None):
    """One row a subject, one bar for each of the series that it has. `series`: (name, function from a subject to a summary). `base`: (name, figure)."""
    groups = []
    for asks, title in report.GROUPS.items():
        rows = [(subject, bars) for subject in results["subjects"] if subject["asks"] == asks
                and (bars := [(number, name, figures) for number, (name, of) in enumerate(series) if (figures := of(subject))])]
        if rows:
            groups.append((title, rows))
    if not groups:
        return ""
    most = max(figures["most"] for _, rows in groups for _, bars in rows for _, _, figures in bars) or 1
    x = lambda value: LABEL + PLOT * max(0, value) / most
    parts, y = [], 16
    for title, rows in groups:
        parts.append(f'<text class="group" x="0" y="{y + 4}">{html.escape(title)}</text>')
        y += HEAD - 8
        for subject, bars in rows:
            who, height = "ours" if subject["ours"] else "peer", len(bars) * (BAR + GAP) - GAP
            parts.append(f'<text class="{who}" x="12" y="{y + height / 2 + 4.5:.1f}">{html.escape(subject["title"])}</text>')
            for number, name, figures in bars:
                middle = y + BAR / 2
                text = f"{figures['median']:,.{digits}f} {unit}"
                parts.append(f'<rect class="{who}-{number}" x="{LABEL}" y="{y}" width="{max(1, x(figures["median"]) - LABEL):.1f}" height="{BAR}" rx="2">'
                             f"<title>{html.escape(subject['title'])}, {html.escape(name)}: {text}, least {figures['least']:,.{digits}f}, most {figures['most']:,.{digits}f}</title></rect>")
                parts.append(f'<line class="whisker" x1="{x(figures["least"]):.1f}" x2="{x(figures["most"]):.1f}" y1="{middle}" y2="{middle}"/>')
                told = f' <tspan class="soft">{html.escape(name)}</tspan>' if len(bars) > 1 else ""
                parts.append(f'<text class="figure" x="{x(figures["most"]) + 7:.1f}" y="{middle + 4.5}">{text}{told}</text>')
                y += BAR + GAP
            y += ROW_GAP - GAP
        y += HEAD - ROW_GAP
    parts.append(f'<line x1="{LABEL}" x2="{LABEL}" y1="8" y2="{y - 14}" stroke="var(--line)"/>')
    if base:
        parts.append(f'<line class="base" x1="{x(base[1]):.1f}" x2="{x(base[1]):.1f}" y1="8" y2="{y - 14}"/><text class="base-name" x="{x(base[1]) + 4:.1f}" y="{y - 4}">{html.escape(base[0])}</text>')
    return f'<figure><svg viewBox="0 0 {LABEL + PLOT + VALUE} {y + 2}" role="img">{"".join(parts)}</svg></figure>'


def section(title, text, drawing):
    return f"<h2>{html.escape(title)}</h2><p class=soft>{html.escape(text)}</p>{drawing}" if drawing else ""


def load_figure(kind, key):
    return lambda subject: subject["loads"].get(kind, {}).get(key)


def in_microseconds(key):
    def of(subject):
        figures = subject[key]
        return figures and {name: figures[name] * 1000 for name in ("median", "least", "most")}
    return of


def table(results):
    heads = ["", "tokens", "CPU, µs", "of nginx'", "requests/s", "CPU busy, %", "others, %"]
    rows = []
    for subject in results["subjects"]:
        for kind, load in subject["loads"].items():
            cells = [subject["title"], report.LOAD_NAMES[kind], report.span(load["cpu_us"], 1), report.span(load["of_nginx"]), report.median(load["requests_per_second"], 0),
                     report.median(load["busy_percent"], 0), report.median(load["others_percent"], 0)]
            rows.append((subject["ours"], cells))
    return rows_of(heads, rows)


def table_of_the_rest(results):
    heads = ["", "added p50, µs", "added p99, µs", "p99, µs", "of it the harness' lateness, µs", "idle, MiB", "with connections, MiB", "ready, ms"]
    rows = [(subject["ours"], [subject["title"]] + [report.span(of(subject), 0) for of in map(in_microseconds, ("added_p50_ms", "added_p99_ms", "p99_ms", "lateness_p99_ms"))]
             + [report.span(subject[key], digits) for key, digits in (("idle_mib", 1), ("connections_mib", 1), ("ready_ms", 0))]) for subject in results["subjects"]]
    return rows_of(heads, rows)


def rows_of(heads, rows):
    row = lambda tag, cells: "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
    body = "".join(f"<tr{' class=ours' if ours else ''}>{row('td', cells)}</tr>" for ours, cells in rows)
    return f"<div class=scroll><table><thead><tr>{row('th', heads)}</tr></thead><tbody>{body}</tbody></table></div>"


def conditions(results):
    machine, settings = results["machine"], results["settings"]
    facts = {
        "When": results["date"], "Command": results["command"],
        "Machine": f"{machine['cpu']}, {machine['cpus']} CPUs{' (virtual)' if machine['virtual'] else ''}, {machine['memory_mib']:,} MiB, {machine['system']}, {machine['kernel']}",
        "Versions": ", ".join(f"{name} {version}" for name, version in results["versions"].items()),
        "Load": f"{settings['connections']} connections, {settings['body_bytes']:,} bytes an answer, {settings['seconds']} s, {settings['repeats']} turns; {settings['sessions_in_redis']:,} sessions in Redis; "
                f"{settings['cold_tokens']:,} tokens where each is to be new",
        "Latency": f"{settings['rate']:,} requests/s for {settings['latency_seconds']} s",
        "Idle CPUs": "kept awake" if settings["idle_cpus_kept_awake"] else "left to sleep",
        "Left out": "; ".join(f"{name}: {why}" for name, why in results["left_out"].items()) or "nothing",
        "Void": "; ".join(f"{name}: {why}" for name, why in results["void"].items()) or "nothing",
    }
    rows = "".join(f"<tr><th>{name}</th><td>{f'<code>{html.escape(text)}</code>' if name == 'Command' else html.escape(text)}</td></tr>" for name, text in facts.items())
    return f"<h2>Conditions</h2><table class=left>{rows}</table>"


def render(results):
    base = next((subject["loads"][ONE]["cpu_us"]["median"] for subject in results["subjects"] if subject["name"] == BASE and ONE in subject["loads"]), None)
    settings = results["settings"]
    series = lambda key: [(report.LOAD_NAMES[kind], load_figure(kind, key)) for kind in (ONE, MANY, COLD)]
    connections = f"{settings['idle_connections']:,} connections"
    body = [
        "<h1>Portcullis and its peers</h1>",
        f"<p class=soft>{html.escape(report.caption(results))}</p>",
        "<p>The proxy under test, with its helpers, has one processor and one worker; the service behind, Redis and the load have the other. Each subject first had to refuse what it "
        "claims to refuse. Bars are medians, the line in a bar goes from the least to the most. Ratios are what counts: times are this machine's.</p>",
        section("CPU a request", "The subject's processes and its helpers', user and kernel. Less is better.", chart(results, series("cpu_us"), "µs", 1, base and ("nginx", base))),
        section("Requests a second", "Of one processor. More is better. Where the subject's processor was not busy (see the table), the load or the service was what could not do more.",
                chart(results, series("requests_per_second"), "/s", 0)),
        section("Latency added", f"At {settings['rate']:,} requests/s, 10,000 tokens, counted from when each request was due; less what the service takes by itself. Less is better.",
                chart(results, [("p50", in_microseconds("added_p50_ms")), ("p99", in_microseconds("added_p99_ms"))], "µs", 0)),
        section("Memory", "Resident; what several processes share is counted for each. Connections have been answered once and are idle.",
                chart(results, [("idle", lambda subject: subject["idle_mib"]), (connections, lambda subject: subject["connections_mib"])], "MiB", 0)),
        section("Start to ready", "From the start of the first process to the first good answer.", chart(results, [("", lambda subject: subject["ready_ms"])], "ms", 0)),
        "<h2>Every figure</h2><p class=soft>Median (least, most). How each turn went is in compare.json.</p>", table(results), "<p></p>", table_of_the_rest(results), conditions(results),
    ]
    head = f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Portcullis and its peers</title><style>{STYLE}</style></head>'
    rights = "<!--\nSPDX-License-Identifier: Apache-2.0\nSPDX-FileCopyrightText: The Portcullis authors\n-->"
    return f"{head}\n{rights}\n<body>\n" + "\n".join(part for part in body if part) + "\n</body></html>\n"
