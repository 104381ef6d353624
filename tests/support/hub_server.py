"""A small HTTP server with the part of Hugging Face's API that push and pull use: one branch, files in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_test"
LARGE = (".tflite", ".onnx", ".pb")  # files that are uploaded as objects of LFS


@dataclass
class Hub:
    """What the server holds.

    Attributes:
        address: of the server.
        repositories: name -> path -> content.
        objects: SHA-256 -> content, of LFS.
        private: names of private repositories.
        requests: method and path of every request.
    """

    address: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)

    def commit(self, name: str) -> str:
        """The commit of a repository: a checksum of its files."""
        files = self.repositories[name]
        return hashlib.sha1(b"".join(path.encode() + files[path] for path in sorted(files))).hexdigest()

    def apply(self, name: str, lines: bytes) -> None:
        """Apply the operations of a commit, one JSON object a line."""
        for line in lines.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "file":
                self.repositories[name][value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                self.repositories[name][value["path"]] = self.objects[value["oid"]]
            elif operation["key"] == "deletedFile":
                del self.repositories[name][value["path"]]


@contextmanager
def hub_server() -> Iterator[Hub]:
    hub = Hub()

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: Hub
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        path, body = self._request()
        if path == "/api/validate-yaml":
            self._json({"warnings": [], "errors": []})
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._json({"error": "Invalid credentials"}, 401)
        elif path == "/api/repos/create":
            settings = json.loads(body)
            name = (
                f"{settings['organization']}/{settings['name']}" if settings.get("organization") else settings["name"]
            )
            known = name in self.state.repositories
            self.state.repositories.setdefault(name, {})
            self.state.private |= {name} if settings.get("visibility") == "private" else set()
            self._json({"url": f"{self.state.address}/{name}"}, 409 if known else 200)
        elif found := re.fullmatch("/api/models/(.+)/preupload/main", path):
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            self._json({"files": modes})
        elif re.fullmatch("/(.+).git/info/lfs/objects/batch", path):
            objects = json.loads(body)["objects"]
            for each in objects:
                each["actions"] = {"upload": {"href": f"{self.state.address}/lfs/{each['oid']}"}}
            self._json({"transfer": "basic", "objects": objects})
        elif found := re.fullmatch("/api/models/(.+)/commit/main", path):
            self.state.apply(found[1], body)
            self._json(
                {"commitUrl": f"{self.state.address}/{found[1]}/commit/1", "commitOid": self.state.commit(found[1])}
            )
        else:
            self._json({"error": "not here"}, 404)

    def do_PUT(self) -> None:
        path, body = self._request()
        oid = path.removeprefix("/lfs/")
        assert hashlib.sha256(body).hexdigest() == oid
        self.state.objects[oid] = body
        self._json({})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, _ = self._request()
        about = re.fullmatch("/api/models/([^/]+/[^/]+)(/revision/(.+))?", path)
        file = re.fullmatch("/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        name = (about or file or [None, None])[1]
        if name not in self.state.repositories or (
            name in self.state.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"
        ):
            self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
            return
        files, commit = self.state.repositories[name], self.state.commit(name)
        revision = about[3] if about else file[2] if file else None
        if revision not in (None, "main", commit):
            self._json({"error": "Revision not found"}, 404, {"X-Error-Code": "RevisionNotFound"})
        elif about:
            siblings = [{"rfilename": path, "size": len(content)} for path, content in files.items()]
            self._json({"id": name, "sha": commit, "private": name in self.state.private, "siblings": siblings})
        elif file and file[3] in files:
            content = files[file[3]]
            self._send(content, 200, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": commit})
        else:
            self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})

    def _request(self) -> tuple[str, bytes]:
        """Path and body of the request."""
        path = unquote(urlsplit(self.path).path)
        self.state.requests.append(f"{self.command} {path}")
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return path, body
        return path, self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _json(self, content: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(content).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """No log."""
