"""Clients of TLS under rotations: they ask all the time, on old connections and new ones, and look at whose certificate they are shown.

Usage: load.py CA PORT PORT, the ports of two listeners. Each line of standard input gets one line of an answer:
  begin                all clients begin
  written AT SERIAL    the newest certificate that listener AT may show from now on
  committed AT SERIAL  the oldest one that it may show to who connects from now on
  probe AT             the serial number that a new connection is shown
  end                  what was counted, as JSON
"""

import json
import socket
import ssl
import sys
import threading
import time

CA, PORTS = sys.argv[1], [int(word) for word in sys.argv[2:]]
PATIENCE = 10
GET = b"GET / HTTP/1.1\r\nHost: server.test\r\n\r\n"
TOLD_MAX = 5
# A port of the client's side rests for a minute: some 28,000 of them must do.
BETWEEN_S = 0.005
# A handshake that is in its middle for longer than a rotation takes.
SLOW_S = 0.1

written, committed = [0] * len(PORTS), [0] * len(PORTS)
lock = threading.Lock()
counts = {"requests": 0, "handshakes": 0, "resumed": 0, "failed": 0, "stale": 0}
seen, told = set(), []
done = threading.Event()


def add(kind, why=None):
    with lock:
        counts[kind] += 1
        if why and len(told) < TOLD_MAX:
            told.append(f"{kind}: {why}")


def context():
    return ssl.create_default_context(cafile=CA)


def plain(at):
    wire = socket.create_connection(("127.0.0.1", PORTS[at]), PATIENCE)
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return wire


def shown(at, oldest, certificate):
    """Judges the certificate of a handshake whose connection was begun when `oldest` was committed."""
    serial, newest = int(certificate["serialNumber"], 16), written[at]
    add("handshakes")
    with lock:
        seen.add(serial)
    if not oldest <= serial <= newest:
        add("stale", f"listener {at} shows {serial}, committed was {oldest}, written is {newest}")
    return serial


def connect(at, trust, session=None):
    oldest = committed[at]
    wire = trust.wrap_socket(plain(at), server_hostname="server.test", session=session)
    shown(at, oldest, wire.getpeercert())
    return wire


def heard(text):
    """Whether this is a whole answer."""
    head, gap, body = bytes(text).partition(b"\r\n\r\n")
    if not gap:
        return False
    if not head.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(f"answered {head[:40]}")
    if b"connection: close" in head.lower():
        raise ConnectionError("the connection is to be closed")
    length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return len(body) >= length


def ask(wire):
    wire.sendall(GET)
    text = bytearray()
    while not heard(text):
        piece = wire.recv(65536)
        if not piece:
            raise ConnectionError(f"an end after {bytes(text[:40])}")
        text += piece
    add("requests")


def long_lived(at):
    """One connection for the whole run."""
    with connect(at, context()) as wire:
        while not done.is_set():
            ask(wire)


def fresh(at):
    with connect(at, context()) as wire:
        ask(wire)
    time.sleep(BETWEEN_S)


def resuming(at):
    """Connections that offer the last one's ticket, whoever gave it."""
    trust, session = context(), None
    while not done.is_set():
        with connect(at, trust, session) as wire:
            ask(wire)
            session = wire.session
            if wire.session_reused:
                add("resumed")
        time.sleep(BETWEEN_S)


def slow(at):
    """Half a ClientHello, and the rest some time later."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context().wrap_bio(incoming, outgoing, server_hostname="server.test")
    oldest = committed[at]
    with plain(at) as wire:
        halved = False
        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                flight = outgoing.read()
                if not halved:
                    wire.sendall(flight[: len(flight) // 2])
                    time.sleep(SLOW_S)
                    flight, halved = flight[len(flight) // 2:], True
                wire.sendall(flight)
                piece = wire.recv(65536)
                if not piece:
                    raise ConnectionError("an end within the handshake") from None
                incoming.write(piece)
        wire.sendall(outgoing.read())
        shown(at, oldest, session.getpeercert())


def forever(client, at):
    while not done.is_set():
        try:
            client(at)
        except Exception as error:  # noqa: BLE001, whatever it is, a connection failed
            add("failed", f"{client.__name__} at listener {at}: {type(error).__name__} {error}")
            time.sleep(BETWEEN_S)


def answer(words):
    if words[0] in ("written", "committed"):
        {"written": written, "committed": committed}[words[0]][int(words[1])] = int(words[2])
        return "ok"
    if words[0] == "probe":
        at = int(words[1])
        try:
            with context().wrap_socket(plain(at), server_hostname="server.test") as wire:
                return str(int(wire.getpeercert()["serialNumber"], 16))
        except Exception as error:  # noqa: BLE001
            return f"failed: {type(error).__name__} {error}"
    return "what?"


def main():
    clients = [(client, at) for client in (long_lived, fresh, resuming, slow) for at in range(len(PORTS))]
    threads = []
    for line in sys.stdin:
        words = line.split()
        if words == ["begin"]:
            threads = [threading.Thread(target=forever, args=client) for client in clients]
            for thread in threads:
                thread.start()
            print("ok", flush=True)
        elif words == ["end"]:
            break
        else:
            print(answer(words), flush=True)
    done.set()
    for thread in threads:
        thread.join()
    print(json.dumps({**counts, "seen": len(seen), "told": told}), flush=True)


main()
