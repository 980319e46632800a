"""A client by TLS: for each line "ADDRESS PORT PATH" a connection, a handshake and one request.

Says "ok SERIAL STATUS<tab>name: value..." of the certificate and the answer's head, or "failed WHY".
"""
import socket
import ssl
import sys

LIMIT_S = 20

context = ssl.create_default_context(cafile=sys.argv[1])
context.check_hostname = False


def ask(address, port, path):
    with socket.create_connection((address, int(port)), LIMIT_S) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            wire = context.wrap_socket(plain, server_hostname="server.test")
        except OSError as error:
            raise ConnectionError(f"in the handshake: {error}") from error
        with wire:
            serial = int(wire.getpeercert()["serialNumber"], 16)
            wire.sendall(f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
            text = b""
            while not text.endswith(b"\r\n\r\nok"):
                piece = wire.recv(65536)
                if not piece:
                    raise ConnectionError(f"an end after {text}, certificate {serial}")
                text += piece
                if b"\r\n\r\n" in text and not text.startswith(b"HTTP/1.1 200"):
                    break
    line, *fields = text.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    return f"ok {serial} " + "\t".join([line.split(" ")[1], *fields])


for line in sys.stdin:
    try:
        said = ask(*line.split())
    except Exception as error:  # noqa: BLE001, whatever it is, the connection failed
        said = f"failed {type(error).__name__} {error}"
    print(said.replace("\n", " "), flush=True)
