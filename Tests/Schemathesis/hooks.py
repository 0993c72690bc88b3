# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors
"""What schemathesis cannot make up: credentials of sessions that are active, and names of things that are there.

PORTCULLIS_ADMIN is the admin listener's URL, PORTCULLIS_ADMIN_TOKEN its token, PORTCULLIS_ISSUER an issuer that sends logout tokens and
PORTCULLIS_ISSUER_SECRET its key; PORTCULLIS_CREDENTIALS is `valid` or `none`. Which statuses each operation
answered is written to the file PORTCULLIS_STATUSES at the end, so that the test can tell a run that reached nothing.
"""

import atexit
import base64
import hashlib
import hmac
import itertools
import json
import os
import time
import uuid

import requests
import schemathesis

ADMIN = os.environ["PORTCULLIS_ADMIN"]
ADMIN_TOKEN = os.environ["PORTCULLIS_ADMIN_TOKEN"]
USER = "alice"
PASSWORD = os.environ["PORTCULLIS_PASSWORD"]
IS_VALID = os.environ["PORTCULLIS_CREDENTIALS"] == "valid"

statuses = {}
calls = itertools.count()


def session():
    """A new session, so that no call meets one that another call has ended."""
    answer = requests.post(f"{ADMIN}/v1/users/{USER}/sessions", headers={"Authorization": f"Bearer {ADMIN_TOKEN}"}, timeout=10)
    answer.raise_for_status()
    return answer.json()


def logout_token():
    """As the identity provider of the test signs it (OpenID Connect Back-Channel Logout 1.0 §2.4)."""
    now = int(time.time())
    claims = {"iss": os.environ["PORTCULLIS_ISSUER"], "aud": "api", "sub": USER, "iat": now, "exp": now + 60, "jti": str(uuid.uuid4())}
    claims["events"] = {"http://schemas.openid.net/event/backchannel-logout": {}}
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "logout+jwt"}, claims)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    mac = hmac.new(os.environ["PORTCULLIS_ISSUER_SECRET"].encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def body_of(operation, issued):
    """A body that means something, for the calls that take one; of those that take either token alternately."""
    token = issued["refresh_token"] if next(calls) % 2 else issued["access_token"]
    return {
        "login": {"username": USER, "password": PASSWORD, "device": "schemathesis"},
        "refresh": {"refresh_token": issued["refresh_token"]},
        "logout": {},
        "registerSession": {"expires_at": "2099-01-31T12:34:56Z"},
        "backchannelLogout": {"logout_token": logout_token()},
        "introspect": {"token": token},
        "revoke": {"token": token},
    }.get(operation)


def schemes(operation):
    return {name for alternative in operation.definition.raw["security"] for name in alternative}


if IS_VALID:

    @schemathesis.auth(refresh_interval=None)
    class Credentials:
        """A token for each case of its own; the check for ignored credentials leaves it out."""

        def get(self, case, context):
            wanted = schemes(context.operation)
            if "adminToken" in wanted:
                return ADMIN_TOKEN
            return session()["access_token"] if "accessToken" in wanted else None

        def set(self, case, data, context):
            if data is None:
                return
            # A generated cookie beside the token would be a second credential.
            case.cookies.clear()
            case.headers.pop("Cookie", None)
            case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.hook
def before_call(context, case, kwargs):
    """Lets two thirds of the cases that follow the description name what is there."""
    if not IS_VALID or case.meta.generation.mode.is_negative or next(calls) % 3 == 0:
        return
    operation = case.operation.definition.raw["operationId"]
    issued = session()
    body = body_of(operation, issued)
    if body is not None:
        case.body = body
    if "user" in (case.path_parameters or {}):
        case.path_parameters["user"] = USER
        case.query.pop("namespace", None)
    if "sid" in (case.path_parameters or {}) and operation != "registerSession":
        case.path_parameters["sid"] = issued["session_id"]


@schemathesis.hook
def after_call(context, case, response):
    answered = statuses.setdefault(case.operation.definition.raw["operationId"], {})
    answered[response.status_code] = answered.get(response.status_code, 0) + 1


@atexit.register
def write_statuses():
    with open(os.environ["PORTCULLIS_STATUSES"], "w", encoding="utf-8") as file:
        json.dump(statuses, file)
