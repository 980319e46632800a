"""Outside peers of TLS against the proxy: says `case NAME ok` or `case NAME WRONG why` for each.

Usage: peers.py FOLDER FRONT ORIGIN... where FRONT is the port of the TLS listener and ORIGIN are paths behind which a TLS origin is.
"""

import socket
import ssl
import subprocess
import sys
import threading

from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.messages import ApplicationData

FOLDER, FRONT, PATHS = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
CA = f"{FOLDER}/ca.pem"
PATIENCE = 10
GET = b"GET /direct HTTP/1.1\r\nHost: server.test\r\nConnection: close\r\n\r\n"
KEEP = GET.replace(b"Connection: close\r\n", b"")
FATAL = 2


class Wrong(Exception):
    """What a case found."""


def want(holds, why):
    if not holds:
        raise Wrong(why)


def run(words, said=b""):
    """A program's exit code and all that it wrote."""
    ended = subprocess.run(words, input=said, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)
    return ended.returncode, ended.stdout.decode(errors="replace")


def healthy():
    """Python's own TLS gets an answer."""
    context = ssl.create_default_context(cafile=CA)
    with socket.create_connection(("127.0.0.1", FRONT), PATIENCE) as plain:
        with context.wrap_socket(plain, server_hostname="server.test") as wire:
            wire.sendall(GET)
            want(wire.recv(4096).startswith(b"HTTP/1.1 200"), "others are not served")


# --- openssl s_client -----------------------------------------------------------------------------------------------------------

def s_client(*words, said=GET):
    base = ["openssl", "s_client", "-connect", f"127.0.0.1:{FRONT}", "-servername", "server.test", "-CAfile", CA]
    return run([*base, "-verify_return_error", "-ign_eof", *words], said)


def served_by_openssl(*words):
    code, text = s_client(*words)
    want("HTTP/1.1 200" in text and "here" in text, f"exit {code}: {text[-300:]}")
    return text


def refused_by_openssl(*words):
    code, text = s_client(*words)
    want(code != 0 and "HTTP/1.1" not in text, f"served: {text[-300:]}")
    want("alert" in text, f"no alert: {text[-300:]}")


def openssl_resumes(version):
    """A session of one connection is resumed by the next."""
    kept = f"{FOLDER}/session-{version}.pem"
    served_by_openssl(f"-{version}", "-sess_out", kept)
    text = served_by_openssl(f"-{version}", "-sess_in", kept)
    want("Reused" in text, "not resumed")


def renegotiation_is_refused():
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{FRONT}", "-servername", "server.test", "-CAfile", CA, "-tls1_2"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        stop = threading.Timer(PATIENCE, client.kill)
        stop.start()
        text = b""
        while b"RENEGOTIATING" not in text and (line := client.stdout.readline()):
            text += line
            if b"Extended master secret" in line:
                # s_client reads its commands from what it is given at once: R asks for a new handshake.
                client.stdin.write(b"R\n")
                client.stdin.flush()
        # It ends by itself, for it is refused; standard input stays open.
        rest = client.stdout.read().decode(errors="replace")
        stop.cancel()
        want(client.wait() != 0, "no error")
    want(b"RENEGOTIATING" in text, f"{text[-300:]!r}")
    want("no renegotiation" in rest or "alert" in rest, f"{rest[-300:]}")


# --- curl -----------------------------------------------------------------------------------------------------------------------

def curl(*words, path="/direct"):
    base = ["curl", "-sS", "-m", "10", "--cacert", CA, "--resolve", f"server.test:{FRONT}:127.0.0.1"]
    return run([*base, "-w", "\n%{http_code} %{http_version}", *words, f"https://server.test:{FRONT}{path}"])


def curl_says(expect, *words, path="/direct"):
    code, text = curl(*words, path=path)
    want(code == 0 and text.splitlines()[-1] == expect, f"exit {code}: {text[-200:]}")


def curl_fails(*words):
    code, text = curl(*words)
    want(code == 35, f"exit {code}: {text[-200:]}")


# --- tlslite-ng -----------------------------------------------------------------------------------------------------------------

class Slow:
    """A socket that says one byte at a time."""

    def __init__(self, below):
        self.below = below

    def sendall(self, data):
        for at in range(len(data)):
            self.below.sendall(data[at:at + 1])

    def send(self, data):
        self.sendall(data[:1])
        return 1

    def __getattr__(self, name):
        return getattr(self.below, name)


def connect(version, slow=False, **settings):
    plain = socket.create_connection(("127.0.0.1", FRONT), PATIENCE)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    wire = TLSConnection(Slow(plain) if slow else plain)
    chosen = HandshakeSettings()
    chosen.minVersion = chosen.maxVersion = (3, version)
    for name, value in settings.items():
        setattr(chosen, name, value)
    wire.handshakeClientCert(settings=chosen, serverName="server.test")
    wire.below = plain
    return wire


def ask(wire):
    wire.sendall(KEEP)
    text = bytearray()
    while not text.endswith(b"here"):
        piece = wire.recv(4096)
        want(piece, f"an end after {bytes(text)!r}")
        text += piece
    want(text.startswith(b"HTTP/1.1 200"), f"{bytes(text)!r}")


def dies(wire, what):
    """The connection ends, whatever is sent on it."""
    try:
        wire.sendall(KEEP)
        while True:
            if not wire.recv(4096):
                return
    except Exception:  # noqa: BLE001, an alert or a reset, as tlslite tells it
        return
    raise Wrong(f"goes on after {what}")


def plain_way(version, slow=False):
    wire = connect(version, slow)
    ask(wire)
    ask(wire)
    wire.close()


def key_updates():
    wire = connect(4)
    for wanted in (0, 1, 1):
        for _ in wire.send_keyupdate_request(wanted):
            pass
        ask(wire)


def record(wire, size):
    """One record with so much plaintext."""
    layer = wire._recordLayer  # pylint: disable=protected-access
    layer.send_record_limit = 1 << 15
    for _ in layer.sendRecord(ApplicationData().create(bytearray(size))):
        pass


def empty_records(version):
    wire = connect(version)
    for _ in range(8):
        record(wire, 0)
    ask(wire)
    for _ in range(8):
        record(wire, 0)
    ask(wire)


def empty_records_without_end(version):
    wire = connect(version)
    try:
        for _ in range(500):
            record(wire, 0)
    except OSError:
        return
    dies(wire, "500 empty records")


def a_byte_too_long(version):
    wire = connect(version)
    record(wire, (1 << 14) + 1)
    dies(wire, "2^14+1 bytes in a record")


def raw(version, data, what):
    wire = connect(version)
    ask(wire)
    wire.below.sendall(bytes(data))
    dies(wire, what)


def truncated_record():
    wire = connect(4)
    wire.below.sendall(bytes([23, 3, 3, 1, 0]) + bytes(100))
    wire.below.shutdown(socket.SHUT_WR)
    wire.below.settimeout(PATIENCE)
    try:
        while wire.below.recv(4096):
            pass
    except ConnectionResetError:
        pass


def refused_hello(version, **settings):
    try:
        connect(version, **settings)
    except Exception as error:  # noqa: BLE001
        want("alert" in type(error).__name__.lower(), f"{type(error).__name__} {error}")
        return
    raise Wrong("served")


def garbage(data):
    with socket.create_connection(("127.0.0.1", FRONT), PATIENCE) as plain:
        plain.sendall(bytes(data))
        plain.shutdown(socket.SHUT_WR)
        plain.settimeout(PATIENCE)
        came = b""
        try:
            while piece := plain.recv(4096):
                came += piece
        except ConnectionResetError:
            pass
        want(not came or came[0] == 21 and came[5] == FATAL, f"{came!r}")


CASES = {
    "openssl TLS 1.2": lambda: served_by_openssl("-tls1_2"),
    "openssl TLS 1.3": lambda: served_by_openssl("-tls1_3"),
    "openssl RSA": lambda: served_by_openssl("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"),
    "openssl ECDSA": lambda: served_by_openssl("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    "openssl P-256": lambda: served_by_openssl("-tls1_3", "-groups", "P-256"),
    "openssl P-521, then P-256": lambda: served_by_openssl("-tls1_3", "-groups", "P-521:P-256"),
    "openssl resumes 1.2": lambda: openssl_resumes("tls1_2"),
    "openssl resumes 1.3": lambda: openssl_resumes("tls1_3"),
    "openssl TLS 1.1": lambda: refused_by_openssl("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"),
    "openssl TLS 1.0": lambda: refused_by_openssl("-tls1", "-cipher", "DEFAULT@SECLEVEL=0"),
    "openssl CBC": lambda: refused_by_openssl("-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA"),
    "openssl P-521 alone": lambda: refused_by_openssl("-tls1_3", "-groups", "P-521"),
    "openssl renegotiates": renegotiation_is_refused,
    "curl HTTP/2": lambda: curl_says("200 2"),
    "curl HTTP/1.1": lambda: curl_says("200 1.1", "--http1.1"),
    "curl without ALPN": lambda: curl_says("200 1.1", "--no-alpn"),
    "curl TLS 1.2": lambda: curl_says("200 2", "--tls-max", "1.2"),
    "curl TLS 1.3": lambda: curl_says("200 2", "--tlsv1.3"),
    "curl CBC": lambda: curl_fails("--tls-max", "1.2", "--ciphers", "ECDHE-RSA-AES256-SHA"),
    "tlslite 1.2": lambda: plain_way(3),
    "tlslite 1.3": lambda: plain_way(4),
    "tlslite 1.2 byte by byte": lambda: plain_way(3, slow=True),
    "tlslite 1.3 byte by byte": lambda: plain_way(4, slow=True),
    "key updates": key_updates,
    "empty records 1.2": lambda: empty_records(3),
    "empty records 1.3": lambda: empty_records(4),
    "empty records without end 1.2": lambda: empty_records_without_end(3),
    "empty records without end 1.3": lambda: empty_records_without_end(4),
    "2^14+1 bytes 1.2": lambda: a_byte_too_long(3),
    "2^14+1 bytes 1.3": lambda: a_byte_too_long(4),
    "a header of too much": lambda: raw(4, [23, 3, 3, 0x50, 0], "a record of 20 KiB"),
    "CCS in the middle 1.2": lambda: raw(3, [20, 3, 3, 0, 1, 1], "a ChangeCipherSpec"),
    "CCS in the middle 1.3": lambda: raw(4, [20, 3, 3, 0, 1, 1], "a ChangeCipherSpec"),
    "forged record": lambda: raw(4, [23, 3, 3, 0, 40] + [7] * 40, "a forged record"),
    "unknown kind of record": lambda: raw(4, [99, 3, 3, 0, 40] + [7] * 40, "a record of kind 99"),
    "truncated record": truncated_record,
    "unknown groups": lambda: refused_hello(4, eccCurves=["secp521r1"], keyShares=["secp521r1"], dhGroups=[]),
    "old version": lambda: refused_hello(2, minVersion=(3, 2)),
    "HTTP": lambda: garbage(GET),
    "SSL 2.0": lambda: garbage([0x80, 0x2E, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10] + [0] * 37),
    "an empty record first": lambda: garbage([22, 3, 1, 0, 0]),
    "an alert first": lambda: garbage([21, 3, 1, 0, 2, 2, 40]),
    "a hello that ends": lambda: garbage([22, 3, 1, 0, 60, 1, 0, 0, 56, 3, 3]),
    "a hello of zeros": lambda: garbage([22, 3, 1, 0, 44, 1, 0, 0, 40] + [0] * 40),
}
for way in PATHS:
    CASES[f"origin {way}"] = lambda way=way: curl_says("200 2", path=way)


def main():
    good = 0
    for name, case in CASES.items():
        try:
            case()
            healthy()
            good += 1
            print(f"case {name} ok", flush=True)
        except Exception as error:  # noqa: BLE001, whatever it is, the case failed
            print(f"case {name} WRONG {type(error).__name__} {error!s}".replace("\n", " | "), flush=True)
    print(f"total {good}/{len(CASES)}", flush=True)


main()
