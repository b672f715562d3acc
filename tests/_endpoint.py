"""A stub of an OpenAI-compatible endpoint on this machine, which keeps what it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

Body = dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What the stub answers."""

    status: int = 200
    data: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def said(text: str | None, finish: str = "stop") -> Reply:
    """A chat completion."""
    return Reply(data=json.dumps({
        "id": "c", "object": "chat.completion", "created": 0, "model": "m",
        "usage": {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25},
        "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}]}).encode())


def failed(status: int, message: str = "no", **headers: str) -> Reply:
    """An error."""
    return Reply(status, json.dumps({"error": {"message": message}}).encode(), {k.replace("_", "-"): v for k, v in headers.items()})


def facts(body: Body) -> dict[str, str]:
    """What a request says of an image."""
    return dict(line.split(": ", 1) for line in body["messages"][1]["content"].splitlines())


def sentence(body: Body) -> str:
    """A caption that says what the facts say, one for each seed."""
    known = facts(body)
    place = {"(": "in the ", ")": ""}
    findings = "".join(place.get(c, c) for c in known.get("findings", "nothing to report")).replace(";", " and")
    return f"{known.get('plane', '')} {known.get('modality', '')} of the {known.get('anatomy', 'body')}: {findings}, version {body['seed']}.".strip()


class Stub:
    """The endpoint while it is entered.

    Attributes:
        bodies: requests in the order in which they came.
        sent: all that came, as bytes, with headers.
        answer: what is said to a request, and how many came before it.
    """

    def __init__(self, answer: Callable[[Body, int], Reply] = lambda body, n: said(sentence(body))) -> None:
        """Answers every request well by default."""
        self.answer, self.bodies, self.sent, self._lock = answer, list[Body](), b"", threading.Lock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                with stub._lock:
                    stub.sent += f"{self.path}\n{self.headers}".encode() + data
                    stub.bodies.append(json.loads(data))
                    reply = stub.answer(stub.bodies[-1], len(stub.bodies) - 1)
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers, "Content-Length": str(len(reply.data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        """Of its API."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self._server.shutdown()
        self._server.server_close()
