"""`Meeting`: the workers find each other and exchange messages before TensorFlow connects them.

A worker whose peer is missing waits without end inside TensorFlow, where neither an exception nor
Ctrl-C reaches it. So each worker first listens at its own address and asks all others, in plain
Python, with a time limit. They meet in rounds. In each, every worker gives one message and gets
those of all. A worker that fails between two rounds tells the others why. When the meeting ends, it
closes the port, which TensorFlow's server then opens.

A request is a line `{"round": 1, "worker": 0}`, the answer a line `{"message": ...}`, or
`{"failure": "..."}` if the worker has ended. An answer may take as long as the worker needs for
its work before the round; the open connection shows that it is alive.
"""

from __future__ import annotations

import contextlib
import json
import math
import socket
import threading
import time
from collections import defaultdict
from types import TracebackType
from typing import Any

from vae_builder.workers.cluster import VARIABLE, Cluster
from vae_runtime.errors import BuildVaeError, OptionError, TrainingError

MAX_MESSAGE_BYTES = 64 << 20
"""Maximum length of a message."""
RETRY_SECONDS = 0.2
"""Time between two attempts to reach a worker."""
FAREWELL_SECONDS = 2.0
"""How long a worker that fails waits for the others to ask why."""
PROBES = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""Seconds and number of the probes that find a machine that is gone, where the system has them."""


class Meeting:
    """A meeting of all workers of a cluster, inside a `with` block.

    Args:
        cluster: the workers.
        timeout: seconds that each worker has to appear.

    Raises:
        OptionError: this worker's port cannot be opened.
        TrainingError: from `exchange`: a worker did not answer in time, or has ended.
    """

    def __init__(self, cluster: Cluster, timeout: float) -> None:
        self.cluster, self.timeout = cluster, timeout
        self._round, self._rounds_done = 0, 0
        self._messages: dict[int, bytes] = {}
        self._failure: bytes | None = None
        self._told: dict[int, set[int]] = defaultdict(set)
        self._changed = threading.Condition()

    def __enter__(self) -> Meeting:
        _, port = self.cluster.host_and_port(self.cluster.index)
        try:
            self._listener = (
                socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
                if socket.has_dualstack_ipv6()
                else socket.create_server(("", port))
            )
        except OSError as error:
            raise OptionError(
                f"port {port} of this worker cannot be opened ({error.strerror or error}): end the "
                f"program that has it, or choose another one in {VARIABLE} of all workers"
            ) from None
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            reason = (
                str(error) if isinstance(error, BuildVaeError | OSError) else type(error).__name__
            )
            with self._changed:
                self._failure = _line({"failure": " ".join(reason.split())})
                self._changed.notify_all()
                next_round = self._rounds_done + 1
                self._changed.wait_for(lambda: self._all_told(next_round), FAREWELL_SECONDS)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`, which keeps the port
        self._listener.close()
        self._acceptor.join()

    def exchange(self, message: Any) -> list[Any]:
        """Give a message, and return those of all workers in their order.

        Args:
            message: anything that JSON can hold.

        Raises:
            TrainingError: names the worker that did not answer or has ended.
        """
        with self._changed:
            self._round += 1
            self._messages[self._round] = own = _line({"message": message})
            self._changed.notify_all()
        deadline = time.monotonic() + self.timeout
        answers = [
            json.loads(own)["message"]
            if index == self.cluster.index
            else self._ask(index, deadline)
            for index in range(len(self.cluster.addresses))
        ]
        # All have come to this round, so each will ask soon.
        with self._changed:
            if not self._changed.wait_for(lambda: self._all_told(self._round), self.timeout):
                told = {self.cluster.index, *self._told[self._round]}
                silent = min({*range(len(self.cluster.addresses))} - told)
                raise self._missing(silent, "it has not asked for this worker's answer")
        self._rounds_done = self._round
        return answers

    def _all_told(self, number: int) -> bool:
        return len(self._told[number]) >= len(self.cluster.addresses) - 1

    def _ask(self, index: int, deadline: float) -> Any:
        """Return the message of another worker."""
        reason = "no answer"
        while (left := deadline - time.monotonic()) > 0:
            try:
                with socket.create_connection(self.cluster.host_and_port(index), left) as peer:
                    return self._answer(peer, index)
            except OSError as error:
                reason = error.strerror or str(error)
                if self._round > 1:
                    raise self._ended(index, "its program is gone") from None
            time.sleep(RETRY_SECONDS)
        raise self._missing(index, reason)

    def _answer(self, peer: socket.socket, index: int) -> Any:
        """Ask a worker for its message of this round."""
        _probe(peer)
        peer.sendall(_line({"round": self._round, "worker": self.cluster.index}))
        if self._round > 1:
            peer.settimeout(None)  # it may be at work for the round
        with peer.makefile("rb") as file:
            line = file.readline(MAX_MESSAGE_BYTES)
        try:
            answer = json.loads(line)
            if "failure" in answer:
                raise self._ended(index, answer["failure"])
            return answer["message"]
        except (ValueError, KeyError, TypeError):
            raise ConnectionError("it gives no answer of build-vae") from None

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener is closed at the end
            while True:
                peer, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        """Answer one request as soon as this worker has come to its round."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError), peer:
            _probe(peer)
            with peer.makefile("rb") as file:
                request = json.loads(file.readline(1000))
            number, worker = int(request["round"]), int(request["worker"])
            with self._changed:
                self._changed.wait_for(lambda: number in self._messages or self._failure)
                answer = self._failure or self._messages[number]
            peer.sendall(answer)
            with self._changed:
                self._told[number].add(worker)
                self._changed.notify_all()

    def _missing(self, index: int, reason: str) -> TrainingError:
        return TrainingError(
            f"{self.cluster.name(index)} did not answer within {math.ceil(self.timeout)} s "
            f"({reason}): start it, correct {VARIABLE}, or give a longer --connect-timeout"
        )

    def _ended(self, index: int, reason: str) -> TrainingError:
        return TrainingError(f"{self.cluster.name(index)} has ended: {reason}")


def _line(content: Any) -> bytes:
    return json.dumps(content).encode() + b"\n"


def _probe(peer: socket.socket) -> None:
    """Let the system find out if the other machine is gone."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in PROBES.items():
        if hasattr(socket, name):
            peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
