"""Meetings of workers, here threads of one process with sockets of their own."""

import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from vae_builder.workers import meeting as meetings
from vae_builder.workers.cluster import Cluster
from vae_builder.workers.meeting import Meeting
from vae_runtime import InputError, OptionError
from vae_runtime.errors import TrainingError
from worker_processes import free_ports


@pytest.fixture
def clusters():
    """Return a function that makes the clusters of some workers."""

    def make(count):
        addresses = tuple(f"localhost:{port}" for port in free_ports(count))
        return [Cluster(addresses, index) for index in range(count)]

    return make


def together(*works):
    """Run functions in threads; return the result or the error of each."""

    def outcome(work):
        try:
            return work()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result() for future in [pool.submit(outcome, work) for work in works]]


def meet(cluster, *messages, timeout=20.0):
    with Meeting(cluster, timeout) as meeting:
        return [meeting.exchange(message) for message in messages]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_all_get_the_messages_of_all_in_each_round(clusters, count):
    found = together(
        *(lambda own=own: meet(own, {"i": own.index}, [own.index]) for own in clusters(count))
    )
    expected = [[{"i": i} for i in range(count)], [[i] for i in range(count)]]
    assert found == [expected] * count


def test_messages_come_as_json_also_the_own():
    own = Cluster((f"localhost:{free_ports(1)[0]}",), 0)
    assert meet(own, {"sizes": (1, 2)}) == [[{"sizes": [1, 2]}]]


def test_ports_are_free_afterwards(clusters):
    both = clusters(2)
    for _ in range(3):
        assert together(*(lambda own=own: meet(own, 1) for own in both)) == [[[1, 1]]] * 2


def test_an_absent_worker_is_named_after_the_timeout(clusters):
    own = clusters(2)[0]
    with pytest.raises(TrainingError) as error:
        meet(own, 1, timeout=0.5)
    assert str(error.value) == (
        f"{own.name(1)} did not answer within 1 s (Connection refused): start it, correct "
        "TF_CONFIG, or give a longer --connect-timeout"
    )


def test_a_worker_may_come_late(clusters):
    first, second = clusters(2)
    late = threading.Event()
    threading.Timer(0.5, late.set).start()
    assert together(lambda: meet(first, 1), lambda: late.wait() and meet(second, 2)) == [
        [[1, 2]],
        [[1, 2]],
    ]


def test_work_between_rounds_may_take_longer_than_the_timeout(clusters):
    first, second = clusters(2)

    def slow():
        with Meeting(second, 2.0) as meeting:
            meeting.exchange(1)
            threading.Event().wait(3.0)
            return meeting.exchange(2)

    assert together(lambda: meet(first, 1, 2, timeout=2.0)[1], slow) == [[2, 2]] * 2


def test_a_worker_that_fails_tells_the_others_why(clusters):
    def failing(cluster):
        with Meeting(cluster, 20.0) as meeting:
            meeting.exchange(1)
            raise InputError("x.npy is\nno array: give one")

    first, second, third = clusters(3)
    found = together(lambda: meet(first, 1, 2), lambda: failing(second), lambda: meet(third, 1, 2))
    for error in (found[0], found[2]):
        assert isinstance(error, TrainingError)
        assert str(error) == f"{first.name(1)} has ended: x.npy is no array: give one"


def test_a_worker_that_is_gone_after_the_first_round_is_named_at_once(clusters, monkeypatch):
    monkeypatch.setattr(meetings, "FAREWELL_SECONDS", 0.0)
    first, second = clusters(2)
    met = threading.Event()

    def go():
        meet(second, 1)
        met.set()

    def stay():
        with Meeting(first, 60.0) as meeting:
            meeting.exchange(1)
            met.wait()
            return meeting.exchange(2)

    error, _ = together(stay, go)
    assert str(error) == f"{first.name(1)} has ended: its program is gone"


def test_another_program_at_an_address_is_no_worker(clusters):
    own = clusters(2)[0]
    with socket.create_server(own.host_and_port(1)) as server:

        def greet():
            with contextlib.suppress(OSError):  # closed at the end of the test
                while True:
                    with server.accept()[0] as peer:
                        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(TrainingError, match=r"worker 1 .*gives no answer of build-vae"):
            meet(own, 1, timeout=1.0)


def test_a_port_in_use_is_named():
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(OptionError, match=f"port {port} of this worker .*TF_CONFIG"):
            meet(Cluster((f"localhost:{port}", "localhost:1"), 0), 1)
