# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors
"""Whether a subject does what it claims. What lets everything through is fast, and is no gateway: nobody is measured who does not pass."""
import time

import tokens
from peers import NOTHING, SESSION
from world import BODY, ask

# Some say that who is known is not meant (403) where the issuer or the audience is another.
FORBIDDEN_WILL_DO = {"another issuer", "another audience"}


def problems(world, running, peer):
    """What is wrong, in words; nothing, if all is well."""
    found = []
    status, body = ask(running.port, world.issuer.good)
    if (status, len(body)) != (200, len(BODY)):
        found.append(f"a good token is answered with {status} and {len(body)} bytes")
    for name, token in world.issuer.bad().items():
        allowed = {200} if peer.asks == NOTHING else {401, 403} if name in FORBIDDEN_WILL_DO else {401}
        status, _ = ask(running.port, token)
        if status not in allowed:
            found.append(f"{name} is answered with {status}")
    return found + revocation(world, running, peer)


def revocation(world, running, peer):
    """A session that has just been used is taken out of Redis, by hand."""
    number, identifier = 0, f"revoked-{time.time_ns()}"
    token, key = world.issuer.token(number, sid=identifier), f"{tokens.PREFIX}{{{tokens.user(number)}}}"
    world.redis([f"SADD {key} {identifier}"])
    status, _ = ask(running.port, token)
    if status != 200:
        return [f"a session that is active is answered with {status}"]
    world.redis([f"SREM {key} {identifier}"])
    deadline, expected = time.monotonic() + peer.staleness, 401 if peer.asks == SESSION else 200
    while (status := ask(running.port, token)[0]) != expected and time.monotonic() < deadline:
        time.sleep(0.005)
    return [] if status == expected else [f"a session that was revoked is answered with {status}"]
