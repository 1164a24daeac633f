#!/usr/bin/env python3
"""A token server for docker-registry, and a registry that lies, for registry.bats.

    registry_server.py LOG PORT_FILE KEY CERTIFICATE

Tokens are JSON Web Tokens signed with KEY, as docker-registry's token authentication wants them. Every request
becomes a line of JSON in LOG. Below /v2/ the first part of a repository's name says how the registry lies.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import loopback_server

USERS = {"pull": "s3cr3t"}
IDENTITY = "s3cr3t-identity"
BLOB = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(10000))
OCI = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = b'{"schemaVersion":2}'


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(access, lifetime):
    """What docker-registry's libtrust accepts: RS256, with the certificate in the header."""
    with open(sys.argv[4], encoding="ascii") as pem:
        der = "".join(line.strip() for line in pem if "-----" not in line)
    now = int(time.time())
    header = {"typ": "JWT", "alg": "RS256", "x5c": [der]}
    claims = {"iss": "issuer", "sub": "", "aud": "registry", "exp": now + lifetime, "nbf": now - 10, "iat": now,
              "jti": os.urandom(8).hex(), "access": access}
    text = encode(json.dumps(header).encode()) + "." + encode(json.dumps(claims).encode())
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", sys.argv[3]], input=text.encode(),
                               stdout=subprocess.PIPE, check=True).stdout
    return text + "." + encode(signature)


class Handler(BaseHTTPRequestHandler):
    """The token server, and one lie for each name."""

    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    counts = {}

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass

    def note(self, body=""):
        with self.lock, open(sys.argv[1], "a", encoding="utf-8") as log:
            self.counts[self.path] = self.counts.get(self.path, 0) + 1
            log.write(json.dumps({"method": self.command, "path": self.path, "body": body,
                                  "authorization": self.headers.get("Authorization"),
                                  "accept": self.headers.get_all("Accept"),
                                  "range": self.headers.get("Range")}) + "\n")
            return self.counts[self.path]

    def send(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_errors(self, status, code, message, **headers):
        self.send(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), **headers)

    def own(self, path):
        return f"http://127.0.0.1:{self.server.server_port}{path}"

    # --- tokens

    def who(self):
        """The user's name, None for nobody, False for somebody with a wrong password."""
        value = self.headers.get("Authorization")
        if not value:
            return None
        user, _, password = base64.b64decode(value.split()[1]).decode().partition(":")
        return user if USERS.get(user) == password else False

    def answer_token(self, scopes, user, lifetime=60):
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            if user or name.startswith("public/"):
                access.append({"type": kind, "name": name, "actions": actions.split(",")})
        self.send(200, json.dumps({"token": sign(access, lifetime), "expires_in": lifetime}).encode(),
                  Content_Type="application/json")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.note(body)
        form = parse_qs(body)
        if self.path == "/moved-token":
            self.send(307, Location="/token")
            return
        if form.get("refresh_token") != [IDENTITY] or form.get("grant_type") != ["refresh_token"]:
            self.send_errors(401, "UNAUTHORIZED", "wrong " + body)
        else:
            self.answer_token(form.get("scope", []), "pull")

    def do_GET(self):
        count = self.note()
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if url.path == "/token":
            user = self.who()
            if user is False:
                self.send_errors(401, "UNAUTHORIZED", "wrong " + self.headers["Authorization"])
            else:
                self.answer_token(query.get("scope", []), user)
        elif url.path == "/old-token":
            self.answer_token(query.get("scope", []), "pull", lifetime=-3600)
        elif url.path == "/short-token":
            self.send(200, json.dumps({"access_token": f"t{count}", "expires_in": 1}).encode())
        elif url.path == "/plain-token":
            self.send(200, b'{"token":"plain"}')
        elif url.path == "/bad-token":
            self.send(200, json.dumps({"token": "a\r\nX-Evil: b"}).encode())
        elif url.path == "/no-token":
            self.send(200, b"s3cr3t")
        elif url.path == "/moved-token":
            self.send(307, Location=query.get("to", ["/plain-token"])[0])
        elif url.path == "/v2/":
            self.send(200)
        elif url.path == "/stolen":
            self.send(401, WWW_Authenticate=f'Bearer realm="{self.own("/token")}?stolen"')
        elif url.path.startswith("/v2/"):
            self.lie(url.path[len("/v2/"):].split("/"))
        else:
            self.send(404)

    # --- lies

    def lie(self, parts):
        lie, kind, wanted = parts[0], parts[-2], parts[-1]
        getattr(self, "lie_" + lie.replace("-", "_"), self.lie_unknown)(kind, wanted)

    def lie_unknown(self, _kind, wanted):
        self.send_errors(404, "MANIFEST_UNKNOWN", f"no \x1b[31m\u202e{wanted}")

    def ask_for(self, realm):
        self.send(401, WWW_Authenticate=f'Bearer realm="{realm}",service="registry"')

    def lie_bearer_loop(self, _kind, _wanted):
        self.ask_for(self.own("/plain-token"))

    def lie_basic_loop(self, _kind, _wanted):
        self.send(401, WWW_Authenticate='Basic realm="x"')

    def lie_strange_scheme(self, _kind, _wanted):
        self.send(401, WWW_Authenticate="Negotiate")

    def lie_bad_challenge(self, _kind, _wanted):
        self.send(401, WWW_Authenticate='Bearer realm="x')

    def lie_forbidden(self, _kind, _wanted):
        self.send_errors(403, "DENIED", "requested access to the resource is denied")

    def lie_plain_realm(self, _kind, _wanted):
        self.ask_for("http://192.0.2.1/token")

    def lie_inner_realm(self, _kind, _wanted):
        self.ask_for("https://169.254.169.254/token")

    def lie_file_realm(self, _kind, _wanted):
        self.ask_for("file:///etc/passwd")

    def lie_moved_realm(self, _kind, _wanted):
        self.ask_for(self.own("/moved-token"))

    def lie_bad_token(self, _kind, _wanted):
        self.ask_for(self.own("/bad-token"))

    def lie_no_token(self, _kind, _wanted):
        self.ask_for(self.own("/no-token"))

    def lie_short_token(self, _kind, _wanted):
        if not self.headers.get("Authorization"):
            self.ask_for(self.own("/short-token"))
        else:
            self.send(200, MANIFEST, Content_Type=OCI)

    def lie_ending_token(self, _kind, _wanted):
        """Each token is good for 100000 bytes of the blob."""
        token = self.headers.get("Authorization", "")
        first = int(self.headers.get("Range", "bytes=0-")[len("bytes="):-1])
        with self.lock:
            is_used = token in self.counts
            self.counts[token] = 1
        if not token or is_used:
            self.ask_for(self.own("/short-token"))
            return
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(BLOB) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(BLOB) - 1}/{len(BLOB)}")
        self.end_headers()
        self.wfile.write(BLOB[first:first + 160000])
        self.close_connection = True

    def lie_elsewhere(self, _kind, _wanted):
        """To another host, which then asks for credentials."""
        self.send(307, Location=f"http://localhost:{self.server.server_port}/stolen")

    def lie_inward(self, _kind, _wanted):
        self.send(307, Location="https://169.254.169.254/latest/meta-data")

    def lie_schema1(self, _kind, _wanted):
        self.send(200, b"{}", Content_Type="application/vnd.docker.distribution.manifest.v1+PrettyJWS")

    def lie_types(self, _kind, wanted):
        types = {"parameters": "application/vnd.OCI.image.index.v1+json; charset=utf-8",
                 "plain": "text/plain", "json": "application/json", "octets": "application/octet-stream",
                 "odd": "nonsense"}
        headers = {"Content_Type": types[wanted]} if wanted in types else {}
        self.send(200, MANIFEST, **headers)

    def lie_big(self, _kind, wanted):
        self.send(200, b"x" * (4194304 + int(wanted)), Content_Type=OCI)

    def lie_blob(self, _kind, _wanted):
        self.send(200, BLOB)

    def lie_half_blob(self, _kind, _wanted):
        """Never more than the first half."""
        if self.headers.get("Range"):
            self.send(416)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BLOB)))
        self.end_headers()
        self.wfile.write(BLOB[:len(BLOB) // 2])
        self.close_connection = True

    def lie_busy(self, _kind, _wanted):
        self.send_errors(429, "TOOMANYREQUESTS", "slow down", Retry_After="100000")

    def lie_silent(self, _kind, _wanted):
        time.sleep(60)


if __name__ == "__main__":
    loopback_server.run(Handler, sys.argv[2])
