#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors
"""Checks fleet.pml with spin: the model as it is must hold, and with any one of its rules removed it must not.

Everything is searched exhaustively (no bitstate hashing). Prints a table; exit 1 where the model fails, a mutant survives, or a witness
(something that has to be possible, or the check would say nothing) is not found. `check.py NAME…` runs those alone; `-v` shows the schedule.
"""

import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
import time

MODEL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fleet.pml")
SECONDS = 900

# What may go wrong in each; `PROMPT`: nothing does but what is named, and the logout has to be answered without waiting for any time.
WORLDS = {
    "streams": [],
    "answers": ["REQUESTS"],
    "others": ["REQUESTS", "OTHERS", "LOSSES=1"],
    "edge deaf": ["LOSSES=1"],
    "later fence": ["LOSSES=1", "LATER"],
    "origin deaf": ["ORIGIN_LOSSES=1"],
    "flush": ["FLUSHES=1"],
    "failover": ["FAILOVERS=1", "MOVES=1"],
    "prompt": ["PROMPT", "MAX_STALENESS=3", "LOSSES=1"],
    "silent": ["SILENT", "MAX_STALENESS=3"],
}

# Each rule that can be removed, and a world in which that shows.
MUTANTS = {
    "LEASE_FROM_RENEWAL": ("streams", "the lease counts from before the PING"),
    "NEITHER_PONG_NOR_BEAT": ("streams", "a lease counts when what was published before it has been heard: the PONG, or the heartbeat itself"),
    "NO_SECOND_PING": ("streams", "a new heartbeat counts after one more PONG"),
    "LAPSED_LEASE_RENEWED": ("streams", "so does one that comes after the lease's end"),
    "BEAT_NOT_HEARD": ("failover", "a heartbeat counts once it has come back over the push connection"),
    "NOT_VERIFIED": ("edge deaf", "what is open is verified before a heartbeat is written"),
    "STALE_VERIFICATION": ("edge deaf", "a verification counts for its own subscription alone"),
    "MISSING_BEAT_IGNORED": ("streams", "a heartbeat that was gone ends the lease"),
    "APPLIED_LATER": ("streams", "a PONG counts when what came before it is applied"),
    "ACKNOWLEDGED_BEFORE_APPLIED": ("streams", "a fence is acknowledged when it is applied on every loop"),
    "ACKNOWLEDGED_WHILE_VERIFYING": ("later fence", "and not while what was missed is being verified"),
    "NO_VERSION": ("others", "an answer counts if nothing was heard since it was asked for"),
    "ANSWERS_OF_ANY_AGE": ("others", "no answer is waited for longer than max_staleness"),
    "LEASE_NOT_CHECKED": ("streams", "the lease is looked at when an answer is used"),
    "MEMORY_SURVIVES_LOSS": ("others", "what was remembered before a subscription is not remembered after it"),
    "TRACKING_NOT_PROVEN": ("others", "and count when tracking is proven"),
    "DATA_ELSEWHERE": ("failover", "answers come from the Redis that the push connection listens to"),
    "NO_WAIT": ("failover", "heartbeats and logouts count when replicated"),
    "NO_ECHO": ("streams", "whom to wait for is decided after the echo"),
    "VIEW_OF_NOW": ("streams", "and is who was alive when the fence was opened, or since"),
    "JOINED_KNOWS_ALL": ("streams", "who has not listened for max_staleness waits for strangers, too"),
    "FLUSH_EMPTIES_VIEW": ("flush", "and a flush"),
    "NOT_WAITED_FOR": ("streams", "who has not acknowledged is waited for"),
    "NOT_PUBLISHED_AGAIN": ("prompt", "what is not acknowledged is published again"),
    "FAULT_IS_A_LOGOUT": ("answers", "a fault is not shown as a logout"),
}

# What must be possible: the model would hold as well if nothing ever happened in it.
WITNESSES = {
    "CONFIRMED": ("streams", "a logout is answered because the edge has acknowledged"),
    "WAITED_OUT": ("streams", "a logout is answered because the edge's lease is over"),
    "REMEMBERED": ("others", "a remembered answer is used after another program has ended the session"),
    "AFTER_FAILOVER": ("failover", "a logout is confirmed over the new primary"),
}


def search(world, switch=None):
    """Whether the model holds, what spin says of it, and the schedule that breaks it."""
    defines = [f"-D{name}" for name in WORLDS[world] + ([switch] if switch else [])]
    folder = tempfile.mkdtemp(prefix="fleet-model-")
    try:
        shutil.copy(MODEL, folder)
        run = lambda *words: subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
        made = run("spin", *defines, "-a", "fleet.pml")
        if made.returncode:
            raise RuntimeError(made.stdout + made.stderr)
        # -w: spin's own code for unrolled array indices makes gcc suspicious.
        built = run("gcc", "-O2", "-w", "-DSAFETY", "-DMEMLIM=3000", "-o", "pan", "pan.c")
        if built.returncode:
            raise RuntimeError(built.stderr)
        found = run("./pan", "-m2000000", "-w24").stdout
        # Killed, out of memory or of depth: then it says nothing.
        if "errors: " not in found or "max search depth too small" in found or ("errors: 0" in found and "Search not completed" in found):
            raise RuntimeError(f"{world} {switch or ''}: not searched completely\n{found}")
        states = next((line.split()[0] for line in found.splitlines() if "states, stored" in line), "?")
        holds = "errors: 0" in found
        why = next((line for line in found.splitlines() if line.startswith("pan:1:")), "").removeprefix("pan:1: ")
        trail = "" if holds else run("spin", *defines, "-t", "-p", "-g", "fleet.pml").stdout
        return holds, states, why, trail
    finally:
        shutil.rmtree(folder)


def main(names):
    verbose = "-v" in names
    names = [name for name in names if name != "-v"]
    rows = [(world, world, True, "the model as it is: " + ", ".join(WORLDS[world]), None) for world in WORLDS]
    rows += [(name, world, False, "possible: " + what, f"WITNESS_{name}") for name, (world, what) in WITNESSES.items()]
    rows += [(name, world, False, "without the rule: " + what, f"MUTANT_{name}") for name, (world, what) in MUTANTS.items()]
    rows = [row for row in rows if not names or row[0] in names]
    if not rows:
        sys.exit("there is nothing of that name")

    def run(row):
        began = time.monotonic()
        return row, search(row[1], row[4]), time.monotonic() - began

    failed = []
    # Two at once: each takes a gigabyte at most.
    with concurrent.futures.ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        for (name, world, expected, what, _), (holds, states, why, trail), seconds in pool.map(run, rows):
            if holds != expected:
                failed.append(name)
            mark, outcome = "ok " if holds == expected else "BAD", "holds" if holds else f"fails: {why}"
            print(f"{mark} {name:30} {world:12} {states:>9} states {seconds:5.1f} s  {what}\n      {outcome}", flush=True)
            if verbose:
                print(trail)
    if failed:
        sys.exit(f"not as it should be: {', '.join(failed)}")


if __name__ == "__main__":
    main(sys.argv[1:])
