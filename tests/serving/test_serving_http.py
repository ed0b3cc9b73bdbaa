"""The server over a real socket: answers, refusals, failures it survives, and its end."""

import http.client
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import gembench_client as client
import numpy as np
import pytest

from vla3d.cli import main
from vla3d.commands.serve import make_server
from vla3d.errors import ConfigError, ObservationError, RequestError
from vla3d.serving.config import ServeConfig
from vla3d.serving.http import PolicyServer

ROOT = Path(__file__).parents[2]


class Answer:
    """A function behind the server that does what it is asked, and knows how many were inside at once."""

    def __init__(self) -> None:
        self.entered = 0

    def __call__(self, body: bytes) -> bytes:
        self.entered += 1
        if body == b"bad":
            raise RequestError("Got bad, expected good.")
        if body == b"blind":
            raise ObservationError("No depth was measured.")
        if body == b"bug":
            raise ZeroDivisionError("in the\npolicy")
        if body == b"slow":
            time.sleep(0.5)
        return body[::-1]


@pytest.fixture
def server() -> Iterator[PolicyServer]:
    made = PolicyServer("127.0.0.1", 0, Answer(), facts={"policy": "toy"}, max_bytes=1000, timeout=0.5)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    with made:
        yield made
        made.shutdown()
        thread.join()


def raw(port: int, text: bytes, *, close: bool = False) -> bytes:
    """What comes back for hand-made bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(text)
        if close:
            connection.shutdown(socket.SHUT_WR)
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


def test_a_body_is_answered_with_one_or_two_slashes(server: PolicyServer) -> None:
    for path in ("/predict", "//predict", "/predict?x=1"):
        assert client.post(server.server_port, b"abc", path) == (200, b"cba")


def test_a_connection_serves_many_requests(server: PolicyServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    for body, status in ((b"one", 200), (b"bad", 400), (b"two", 200), (b"bug", 500), (b"three", 200)):
        connection.request("POST", "/predict", body=body)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    assert connection.sock is not None  # nothing of this closed it
    connection.close()


def test_what_the_client_got_wrong_is_told_in_one_sentence(server: PolicyServer) -> None:
    assert client.post(server.server_port, b"bad") == (400, b"Got bad, expected good.\n")
    assert client.post(server.server_port, b"blind") == (400, b"No depth was measured.\n")


def test_a_failing_policy_is_500_and_the_server_lives_on(server: PolicyServer, caplog: pytest.LogCaptureFixture) -> None:
    status, text = client.post(server.server_port, b"bug")
    assert (status, text) == (500, b"The policy failed with ZeroDivisionError: in the policy\n")
    assert "Traceback" in caplog.text  # where the operator looks
    assert client.post(server.server_port, b"abc") == (200, b"cba")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/predikt", 404), ("GET", "/", 404), ("GET", "/predict", 405), ("PUT", "/predict", 501)],
)
def test_other_paths_and_methods(server: PolicyServer, method: str, path: str, status: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, body=b"" if method != "GET" else None)
    assert connection.getresponse().status == status
    connection.close()


def test_health(server: PolicyServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request("GET", "/health")
    assert json.loads(connection.getresponse().read()) == {"policy": "toy"}
    connection.close()


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"POST /predict HTTP/1.1\r\nHost: x\r\n\r\n", 411),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 411),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1e9\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", 413),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", 408),
    ],
)
def test_bodies_without_a_sound_length_are_refused_unread(server: PolicyServer, text: bytes, status: int) -> None:
    answer = raw(server.server_port, text)
    assert re.search(rb"\b%d\b" % status, answer.splitlines()[0])
    assert client.post(server.server_port, b"abc") == (200, b"cba")
    assert isinstance(server.answer, Answer) and server.answer.entered == 1


def test_a_body_that_breaks_off_is_refused(server: PolicyServer) -> None:
    answer = raw(server.server_port, b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc", close=True)
    assert b"400" in answer.splitlines()[0] and b"Got 3 bytes of a body of 10." in answer


def test_a_client_that_goes_away_leaves_no_mark(server: PolicyServer, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # reset on close
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nslow")
    with caplog.at_level(logging.WARNING):
        assert client.post(server.server_port, b"abc") == (200, b"cba")
        time.sleep(0.7)
    assert not caplog.records


def test_a_silent_client_does_not_keep_others_waiting(server: PolicyServer) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port)) as idle:
        idle.sendall(b"POST /predict HTTP/1.1\r\n")
        assert client.post(server.server_port, b"abc") == (200, b"cba")


def test_a_port_in_use_is_one_sentence(server: PolicyServer) -> None:
    with pytest.raises(ConfigError, match=rf"Cannot listen on 127\.0\.0\.1:{server.server_port} .*take another port"):
        PolicyServer("127.0.0.1", server.server_port, Answer(), facts={}, max_bytes=1, timeout=1)
    with pytest.raises(ConfigError, match="check host and port"):
        PolicyServer("host.invalid", 0, Answer(), facts={}, max_bytes=1, timeout=1)


# The command


def test_a_policy_answers_the_client_over_the_wire() -> None:
    server = make_server(ServeConfig(policy="random", port=0))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    with server:
        answers = [
            client.post(server.server_port, client.pack(client.request(episode_id=e, step_id=s)))
            for e, s in ((1, 0), (1, 1), (1, 0))
        ]
        status, text = client.post(server.server_port, client.pack({"taskvar": "x+1"}))
        server.shutdown()
        thread.join()
    actions = [client.decode(body) for code, body in answers if code == 200]
    assert len(actions) == 3 and all(action.shape == (8,) for action in actions)
    assert all(np.linalg.norm(action[3:7]) == pytest.approx(1) and action[7] in (0, 1) for action in actions)
    assert (np.array(actions)[:, :3] >= (-0.3, -0.5, 0.6)).all() and (np.array(actions)[:, :3] <= (0.7, 0.5, 1.6)).all()
    assert (actions[0] == actions[2]).all() and (actions[0] != actions[1]).any()  # an episode's randomness is its own
    assert status == 400 and b"it has no episode_id" in text and text.count(b"\n") == 1


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "Got no policy: give checkpoint=RUN, or policy=random"),
        (["policy=random", "checkpoint=x"], "give one of the two"),
        (["gembnch", "policy=random"], "Unknown protocol 'gembnch'. Did you mean 'gembench'?"),
        (["policy=scripted"], "policy=scripted reads the simulator's state"),
        (["checkpoint=nowhere"], "No checkpoint in nowhere"),
        (["policy=random", "port=70000"], "port: got 70000, expected a whole number from 0 to 65535"),
        (["policy=random", "max_megabytes=0"], "max_megabytes: got 0, expected a positive number"),
    ],
)
def test_mistakes(words: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *words]) == 2
    err = capsys.readouterr().err
    assert part in err and err.count("\n") == 1


def test_ctrl_c_ends_it_with_130(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "vla3d", "serve", "gembench", "policy=random", "port=0"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = re.search(r"Serving random for gembench on http://127\.0\.0\.1:(\d+)/predict", process.stdout.readline())
    assert told is not None
    status, body = client.post(int(told[1]), client.pack(client.request()))
    assert status == 200 and client.decode(body).shape == (8,)
    with socket.create_connection(("127.0.0.1", int(told[1]))):  # a connection that stays open does not keep it
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == "Interrupted.\n"
