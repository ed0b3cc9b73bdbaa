"""The HTTP side of a policy server: one path, bodies of known length, and an answer to everything that goes wrong."""

import errno
import json
import logging
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from vla3d.errors import ConfigError, ObservationError, RequestError

logger = logging.getLogger(__name__)

Answer = Callable[[bytes], bytes]

PREDICT, HEALTH = "/predict", "/health"


class PolicyServer(ThreadingHTTPServer):
    """``POST /predict`` hands a body to a function and sends what it returns; ``GET /health`` says that the server is there.

    An unusable request is answered with 400 and one sentence, a failure of the function with 500; the server goes on. Every
    connection has a thread of its own; the function takes care of what must not happen at the same time.

    Args:
        host: address to listen on.
        port: 0 takes a free one; ``server_port`` tells which.
        answer: body to body. ``RequestError`` and ``ObservationError`` are the client's fault, everything else is ours.
        facts: what ``/health`` answers, JSON-able.
        max_bytes: longest body that is read.
        timeout: seconds that a client may be silent in the middle of a request.

    Raises:
        ConfigError: the address cannot be listened on.
    """

    daemon_threads = True  # a client that keeps its connection open must not keep the server from ending

    def __init__(
        self, host: str, port: int, answer: Answer, *, facts: Mapping[str, Any], max_bytes: int, timeout: float
    ) -> None:
        self.answer = answer
        self.facts = dict(facts)
        self.max_bytes = max_bytes
        self.patience = timeout
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            taken = getattr(error, "errno", None) == errno.EADDRINUSE
            hint = "another program listens there; take another port" if taken else "check host and port"
            raise ConfigError(f"Cannot listen on {host}:{port} ({error}): {hint}.") from error

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of ours."""
        logger.info("The connection from %s broke off.", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: PolicyServer
    protocol_version = "HTTP/1.1"  # connections are kept: a client asks again after every motion

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.patience)

    def do_GET(self) -> None:
        """`/health`."""
        if self._path() == HEALTH:
            self._send(HTTPStatus.OK, json.dumps(self.server.facts).encode(), "application/json")
        elif self._path() == PREDICT:
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, f"Got GET {PREDICT}, expected POST.")
        else:
            self._refuse_path()

    def do_POST(self) -> None:
        """`/predict`."""
        if self._path() != PREDICT:
            self._refuse_path()
            return
        body = self._body()
        if body is None:
            return
        try:
            answer = self.server.answer(body)
        except (RequestError, ObservationError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error), keep=True)
        except Exception as error:
            logger.exception("The policy failed.")
            reason = " ".join(str(error).split())
            self._refuse(
                HTTPStatus.INTERNAL_SERVER_ERROR, f"The policy failed with {type(error).__name__}: {reason}", keep=True
            )
        else:
            self._send(HTTPStatus.OK, answer, "application/msgpack")

    def _path(self) -> str:
        """The path asked for. GemBench's client joins addresses so that they have two slashes."""
        return re.sub("/+", "/", self.path.partition("?")[0])

    def _body(self) -> bytes | None:
        """The body; None once a refusal was sent."""
        length = self.headers.get("Content-Length")
        if length is None:
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "Got a request without Content-Length, expected one with its length.")
            return None
        if not re.fullmatch(r"\d{1,18}", length):
            self._refuse(HTTPStatus.BAD_REQUEST, f"Got the Content-Length {length[:40]!r}, expected a number of bytes.")
            return None
        if int(length) > self.server.max_bytes:
            most = self.server.max_bytes
            self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Got {length} bytes, expected at most {most}; raise max_megabytes."
            )
            return None
        try:
            body = self.rfile.read(int(length))
        except TimeoutError:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"The body did not arrive within {self.server.patience:g} s of silence.")
            return None
        if len(body) < int(length):
            self._refuse(HTTPStatus.BAD_REQUEST, f"Got {len(body)} bytes of a body of {length}.")
            return None
        return body

    def _refuse_path(self) -> None:
        self._refuse(HTTPStatus.NOT_FOUND, f"Got the path {self._path()[:80]!r}, expected {PREDICT} or {HEALTH}.")

    def _refuse(self, status: HTTPStatus, sentence: str, *, keep: bool = False) -> None:
        # Unread parts of a body would be taken for the next request, so the connection ends unless all was read.
        self.close_connection = self.close_connection or not keep
        logger.warning("%s: %d %s", self.client_address[0], status, sentence)
        self._send(status, f"{sentence}\n".encode(), "text/plain; charset=utf-8")

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """One line for each request, for those who want it."""
        logger.debug("%s %s", self.client_address[0], format % args)
