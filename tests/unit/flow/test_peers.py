"""The ports of a flow's processes."""

from __future__ import annotations

import socket

import pytest

from streamsd.programs.flow.peers import held_addresses


def test_ports_are_nobody_elses_until_who_is_to_listen_there_does() -> None:
    with held_addresses(3) as addresses:
        ports = [int(address.rpartition(":")[2]) for address in addresses]
        assert len(set(ports)) == 3
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", ports[0]))
        # As Bytewax listens: with SO_REUSEADDR.
        with socket.create_server(("127.0.0.1", ports[0]), reuse_port=False) as server:
            assert server.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
            with socket.create_connection(("127.0.0.1", ports[0]), timeout=5):
                server.accept()[0].close()
