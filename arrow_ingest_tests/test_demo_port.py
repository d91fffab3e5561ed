"""Which port the demo's Dagster listens on: the wanted one, unless somebody listens there."""

import socket

from arrow_ingest.demo.dagster_dev import free_port


def listener() -> socket.socket:
    """As webservers make theirs."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", 0))
    server.listen()
    return server


def test_a_port_that_somebody_listens_on_is_left_to_them() -> None:
    with listener() as server:
        assert free_port(server.getsockname()[1]) != server.getsockname()[1]


def test_a_port_of_which_only_closed_connections_are_left_is_taken_again() -> None:
    with listener() as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as browser:
            accepted, _ = server.accept()
            accepted.close()  # who closes first keeps the port in TIME_WAIT
            assert browser.recv(1) == b""
    assert free_port(port) == port
