"""A model hub on this machine: as much of its protocol as fetching a model needs, and a note of all that was asked."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


@dataclass
class FakeHub:
    """Models by name, each with its revisions' commits and the files of each commit."""

    commits: dict[str, dict[str, str]] = field(default_factory=dict)
    """Name of a model -> revision -> commit."""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Commit -> file -> contents."""
    asked: list[str] = field(default_factory=list)
    """Method and path of every request so far."""
    url: str = ""

    def publish(self, name: str, files: dict[str, bytes], revision: str = "main") -> str:
        """Make files the newest commit of a revision; returns the commit."""
        commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        self.commits.setdefault(name, {})[revision] = commit
        self.files[commit] = files
        return commit

    def fetched(self) -> list[str]:
        """Files whose contents were asked for."""
        return sorted(
            {path.rpartition("/")[2] for path in self.asked if path.startswith("GET") and "/resolve/" in path}
        )

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and contents."""
        parts = unquote(path.partition("?")[0]).strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            return self._about("/".join(parts[2:4]), parts[4:])
        name, place = "/".join(parts[:2]), parts[3:]
        commit = self.commits.get(name, {}).get(place[0], place[0])
        contents = self.files.get(commit, {}).get("/".join(place[1:]))
        if contents is None:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        tag = hashlib.sha1(contents).hexdigest()
        return 200, {"ETag": f'"{tag}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}, contents

    def _about(self, name: str, rest: list[str]) -> tuple[int, dict[str, str], bytes]:
        if name not in self.commits:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        kind, revision = (rest[0], "/".join(rest[1:])) if rest else ("revision", "main")
        known = self.commits[name]
        commit = known.get(revision, revision if revision in known.values() else None)
        if commit is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        files = self.files[commit]
        if kind == "tree":
            rows = [
                {"type": "file", "path": file, "size": len(contents), "oid": hashlib.sha1(contents).hexdigest()}
                for file, contents in files.items()
            ]
            return 200, {"Content-Type": "application/json"}, json.dumps(rows).encode()
        siblings = [{"rfilename": file, "size": len(contents)} for file, contents in files.items()]
        about = {"id": name, "modelId": name, "sha": commit, "siblings": siblings, "tags": [], "private": False}
        return 200, {"Content-Type": "application/json"}, json.dumps(about).encode()


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Answer requests until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            status, headers, contents = hub.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(contents))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(contents)

        do_HEAD = do_GET

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
