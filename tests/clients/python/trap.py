"""Fails where a client turns to any host but the sidecar's: to be imported before the client."""

import socket

_elsewhere = []
_look_up = socket.getaddrinfo


def _watch(host, *arguments, **named):
    if host not in ("127.0.0.1", "localhost", b"127.0.0.1"):
        _elsewhere.append(host)
        raise OSError(f"{host} is not the sidecar")
    return _look_up(host, *arguments, **named)


socket.getaddrinfo = _watch


def check():
    """To be called at the end, since clients swallow exceptions."""
    assert not _elsewhere, f"the client turned to {_elsewhere}"
