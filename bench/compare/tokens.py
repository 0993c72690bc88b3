# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors
"""The issuer of the comparison: a key, good tokens in number, and those that must be refused.

Kept in a folder from run to run, as a hundred thousand signatures take a minute. They are for this only: nothing else trusts the key.
"""
import base64, concurrent.futures, ctypes, ctypes.util, functools, hashlib, hmac, json, pathlib, subprocess, time, uuid

ISSUER, AUDIENCE = "https://issuer.compare.example/", "compare"
USERS, SESSIONS_EACH = 10_000, 3
EXPIRY = 4_102_444_800  # 2100
PREFIX = "portcullis:sessions:"


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@functools.cache
def user(number):
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"user {number}"))


@functools.cache
def session(number, which):
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"session {which} of user {number}"))


class Key:
    """RS256 by OpenSSL's library: Python's own means would take a quarter of an hour for what takes it a minute."""

    def __init__(self, pem):
        name = ctypes.util.find_library("crypto")
        if not name:
            raise SystemExit("OpenSSL's libcrypto is needed and not there")
        self.library = ctypes.CDLL(name)
        for function in ("BIO_new_mem_buf", "PEM_read_bio_PrivateKey", "EVP_MD_CTX_new", "EVP_sha256"):
            getattr(self.library, function).restype = ctypes.c_void_p
        bio = ctypes.c_void_p(self.library.BIO_new_mem_buf(pem, len(pem)))
        self.key = ctypes.c_void_p(self.library.PEM_read_bio_PrivateKey(bio, None, None, None))
        self.sha256 = ctypes.c_void_p(self.library.EVP_sha256())

    def prepared(self, initialise):
        context = ctypes.c_void_p(self.library.EVP_MD_CTX_new())
        if initialise(context, None, self.sha256, None, self.key) != 1:
            raise RuntimeError("OpenSSL does not take the key")
        return context

    def sign(self, data):
        context = self.prepared(self.library.EVP_DigestSignInit)
        signature, size = ctypes.create_string_buffer(512), ctypes.c_size_t(512)
        done = self.library.EVP_DigestSign(context, signature, ctypes.byref(size), data, ctypes.c_size_t(len(data)))
        self.library.EVP_MD_CTX_free(context)
        if done != 1:
            raise RuntimeError("OpenSSL does not sign")
        return signature.raw[:size.value]


class Issuer:
    def __init__(self, folder, cold):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.private_key, self.public_key, self.key_set = (self.folder / name for name in ("key.pem", "public.pem", "keys.json"))
        if not self.key_set.exists():
            self.make_key()
        self.key = Key(self.private_key.read_bytes())
        self.many, self.cold = self.folder / "many", self.folder / f"cold-{cold}"
        self.make(self.many, USERS, lambda n: {})
        self.good = self.many.read_text().split("\n", 1)[0]
        self.make(self.cold, cold, lambda n: {"jti": str(n)})

    def make_key(self):
        for file in self.folder.iterdir():
            file.unlink()  # what another key has signed
        run = functools.partial(subprocess.run, check=True, capture_output=True)
        run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self.private_key])
        run(["openssl", "pkey", "-in", self.private_key, "-pubout", "-out", self.public_key])
        modulus = run(["openssl", "rsa", "-in", self.private_key, "-noout", "-modulus"]).stdout.decode().strip().split("=")[1]
        key = {"kty": "RSA", "kid": "compare", "alg": "RS256", "use": "sig", "n": base64url(bytes.fromhex(modulus)), "e": "AQAB"}
        self.key_set.write_text(json.dumps({"keys": [key]}))

    def parts(self, number, header=None, **claims):
        """Header and payload, as they are signed."""
        payload = {"iss": ISSUER, "aud": AUDIENCE, "sub": user(number), "sid": session(number, number % SESSIONS_EACH), "iat": 1_750_000_000, "exp": EXPIRY}
        claims = {name: value for name, value in {**payload, **claims}.items() if value is not None}
        texts = ({"alg": "RS256", "typ": "JWT", "kid": "compare", **(header or {})}, claims)
        return ".".join(base64url(json.dumps(text, separators=(",", ":")).encode()) for text in texts)

    def token(self, number, **claims):
        signed = self.parts(number, **claims)
        return f"{signed}.{base64url(self.key.sign(signed.encode()))}"

    def make(self, file, count, claims):
        """So many tokens of the users in turn, one a line, unless the file has them."""
        if count == 0 or file.exists() and file.read_bytes().count(b"\n") == count:
            return
        if count > USERS:
            print(f"signing {count:,} tokens, a minute or two; they are kept in {self.folder}", flush=True)
        # OpenSSL works outside of Python's lock, so that both processors sign.
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            tokens = pool.map(lambda n: self.token(n % USERS, **claims(n)), range(count))
            file.write_text("".join(token + "\n" for token in tokens))

    def bad(self):
        """What nobody may let through: what is wrong with it, and the token."""
        signed, signature = self.good.rsplit(".", 1)
        other = self.many.read_text().split("\n", 2)[1].rsplit(".", 1)[1]
        unsigned = self.parts(0, {"alg": "none"})
        confused = self.parts(0, {"alg": "HS256"})
        mac = hmac.new(self.public_key.read_bytes(), confused.encode(), hashlib.sha256).digest()
        return {
            "garbage": "not.a.token", "another token's signature": f"{signed}.{other}", "expired": self.token(0, exp=int(time.time()) - 3600),
            "one that never expires": self.token(0, exp=None),
            "another issuer": self.token(0, iss="https://elsewhere.example/"), "another audience": self.token(0, aud="elsewhere"),
            "alg none": f"{unsigned}.", "alg none, signed": f"{unsigned}.{signature}", "HS256 with the public key": f"{confused}.{base64url(mac)}",
            "no token": None,
        }
