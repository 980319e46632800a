"""The cases of the judge `websocket`: what a client sends, and what a server that keeps RFC 6455 (and RFC 7692) makes of it.

They stand on the ground that Autobahn's fuzzing client covers, group by group; group 11 is ours. A case is data: `steps` are bytes to send, a message to
compress and send, a number of frames to wait for, or the client's end; the rest is what an echoing server answers. Where a good message comes before a wrong frame, the case waits
for its echo: what comes first would else be chance.
"""

import zlib
from dataclasses import dataclass

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NORMAL, PROTOCOL_ERROR, NO_CODE, INVALID, TOO_BIG = 1000, 1002, 1005, 1007, 1009

# A step: the client says nothing more, and still listens.
END = "end"
# A text at which the origin breaks the connection off.
DROP = b"drop this connection"
# The origin's bound on a message.
MESSAGE_MAX = 1 << 20
# A case with no more bytes than this is played a second time, an octet at a time.
CHOPPED_MAX = 300


@dataclass(frozen=True)
class Deflated:
    """A message that the client compresses as it was agreed."""

    opcode: int
    payload: bytes
    # Bytes of compressed data a frame; all in one where it is 0.
    fragment: int = 0


@dataclass(frozen=True)
class Case:
    name: str
    steps: tuple
    # Opcode and payload of each message, the payloads of pongs, the code of the server's Close; none where it breaks off.
    messages: tuple = ()
    pongs: tuple = ()
    close: int | None = NORMAL
    # The client ends it with a Close of its own.
    closes: bool = True
    # Sec-WebSocket-Extensions.
    offer: str = ""
    # Bytes of what is sent at once; all where it is 0.
    chop: int = 0

    @property
    def group(self):
        return self.name.split(".")[0]


def masked(payload, mask):
    if not payload:
        return b""
    key = (mask * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(len(payload), "big")


def frame(opcode, payload=b"", fin=True, rsv=0):
    """A client's frame; its mask follows from what it says."""
    size = len(payload)
    mask = zlib.crc32(payload, opcode + size).to_bytes(4, "big")
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return head + mask + masked(payload, mask)


def close(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


def fragments(opcode, payload, size):
    """A message in frames of so many bytes."""
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
    last = len(pieces) - 1
    return [frame(CONT if at else opcode, piece, fin=at == last) for at, piece in enumerate(pieces)]


def good(name, frames, messages=(), pongs=(), **more):
    """All is echoed; then the client ends it."""
    sent = b"".join(frames)
    return Case(name, (sent, len(messages) + len(pongs)), tuple(messages), tuple(pongs), **more)


def bad(name, frames, code=PROTOCOL_ERROR, before=(), messages=(), pongs=()):
    """The server fails the connection with this code, after what came `before`."""
    steps = (b"".join(before), len(messages) + len(pongs)) if before else ()
    return Case(name, (*steps, b"".join(frames)), tuple(messages), tuple(pongs), close=code, closes=False)


def text(size):
    return (b"*" * size)[:size]


def binary(size):
    return (bytes(range(256)) * (size // 256 + 1))[:size]


HELLO = (TEXT, b"Hello, world!")


def framing():
    sizes = [0, 1, 125, 126, 127, 128, 65_535, 65_536]
    for kind, opcode, make in (("text", TEXT, text), ("binary", BINARY, binary)):
        for size in sizes:
            yield good(f"1.{kind} {size}", [frame(opcode, make(size))], [(opcode, make(size))])
        yield good(f"1.{kind} 65536 by 997", [frame(opcode, make(65_536))], [(opcode, make(65_536))], chop=997)


def pings():
    yield good("2.empty", [frame(PING)], pongs=[b""])
    for name, payload in (("text", b"Hello"), ("binary", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"), ("125", binary(125))):
        yield good(f"2.{name}", [frame(PING, payload)], pongs=[payload])
    yield bad("2.126 bytes", [frame(PING, text(126))])
    yield good("2.unasked pong", [frame(PONG)])
    yield good("2.unasked pong with payload", [frame(PONG, b"unasked")])
    yield good("2.unasked pong, then ping", [frame(PONG, b"unasked"), frame(PING, b"asked")], pongs=[b"asked"])
    many = [f"ping {at}".encode() for at in range(10)]
    yield good("2.ten", [frame(PING, payload) for payload in many], pongs=many)


def reserved_bits():
    for rsv in range(1, 8):
        yield bad(f"3.text, rsv {rsv}", [frame(TEXT, b"small", rsv=rsv)])
    for rsv, opcode in ((1, BINARY), (6, BINARY), (5, PING), (4, CONT), (7, CLOSE)):
        yield bad(f"3.opcode {opcode}, rsv {rsv}", [frame(opcode, b"\x03\xe8", rsv=rsv)])
    yield bad("3.after a message", [frame(TEXT, b"small", rsv=2), frame(PING)], before=[frame(*HELLO)], messages=[HELLO])


def opcodes():
    for opcode in (*range(3, 8), *range(11, 16)):
        yield bad(f"4.{opcode}", [frame(opcode)])
        yield bad(f"4.{opcode} with payload", [frame(opcode, b"reserved")])
        wrong = [frame(opcode, b"reserved"), frame(PING)]
        yield bad(f"4.{opcode} after a message", wrong, before=[frame(*HELLO)], messages=[HELLO])


def fragmentation():
    one, two = frame(TEXT, b"fragment1", fin=False), frame(CONT, b"fragment2")
    whole = (TEXT, b"fragment1fragment2")
    yield bad("5.ping in two", [frame(PING, b"one", fin=False), frame(CONT, b"two")])
    yield bad("5.pong in two", [frame(PONG, b"one", fin=False), frame(CONT, b"two")])
    yield good("5.text in two", [one, two], [whole])
    yield good("5.text in two by 1", [one, two], [whole], chop=1)
    yield good("5.binary in two", [frame(BINARY, b"\0", fin=False), frame(CONT, b"\xff")], [(BINARY, b"\0\xff")])
    yield good("5.ping within", [one, frame(PING, b"within"), two], [whole], [b"within"])
    yield good("5.ping within, by 7", [one, frame(PING, b"within"), two], [whole], [b"within"], chop=7)
    yield good("5.pong within", [one, frame(PONG, b"within"), two], [whole])
    yield good("5.empty fragments", [frame(TEXT, fin=False), frame(CONT, fin=False), frame(CONT)], [(TEXT, b"")])
    middle = [frame(TEXT, fin=False), frame(CONT, b"middle", fin=False), frame(CONT)]
    yield good("5.empty around", middle, [(TEXT, b"middle")])
    many = [frame(TEXT, b"a", fin=False)]
    for at in range(5):
        many += [frame(CONT, b"b" * at, fin=False), frame(PING, bytes([at]))]
    due = (TEXT, b"a" + b"".join(b"b" * at for at in range(5)) + b"c")
    yield good("5.pings between", [*many, frame(CONT, b"c")], [due], [bytes([at]) for at in range(5)])
    for fin in (True, False):
        wrong = [frame(CONT, b"nothing to go on with", fin=fin), frame(*HELLO)]
        yield bad(f"5.continuation of nothing, fin {fin}", wrong)
        yield bad(f"5.the same after a message, fin {fin}", wrong, before=[one, two], messages=[whole])
    yield bad("5.text within", [one, frame(TEXT, b"another"), two])
    yield bad("5.binary within", [one, frame(BINARY, b"another")])
    yield bad("5.unfinished, then text", [one, frame(CONT, b"more", fin=False), frame(TEXT, b"another")])
    yield bad("5.close within", [one, close(1000)])
    yield good("5.two messages", [one, two, one, two], [whole, whole])


# What is text, and what is not (RFC 3629).
RIGHT = {
    "nothing": b"",
    "greek": "κόσμε".encode(),
    "mixed": "Hello-µ@ßöäüàá-UTF-8!!".encode(),
    "NUL": b"\0",
    "U+007F": b"\x7f",
    "U+0080": b"\xc2\x80",
    "U+07FF": b"\xdf\xbf",
    "U+0800": b"\xe0\xa0\x80",
    "U+D7FF": b"\xed\x9f\xbf",
    "U+E000": b"\xee\x80\x80",
    "U+FFFD": b"\xef\xbf\xbd",
    "U+FFFE": b"\xef\xbf\xbe",
    "U+FFFF": b"\xef\xbf\xbf",
    "U+10000": b"\xf0\x90\x80\x80",
    "U+1FFFE": b"\xf0\x9f\xbf\xbe",
    "U+10FFFF": b"\xf4\x8f\xbf\xbf",
    "all that are there": "".join(map(chr, (*range(1, 0x250), 0x20AC, 0x1F600))).encode(),
}
WRONG = {
    "a lone continuation": b"\x80",
    "a lone BF": b"\xbf",
    "two continuations": b"\x80\xbf",
    "six continuations": b"\x80\xbf\x80\xbf\x80\xbf",
    "a lone start of two": b"\xc3",
    "a lone start of three": b"\xe2\x82",
    "a lone start of four": b"\xf0\x9f\x98",
    "a start, then a space": b"\xc3 ",
    "three starts": b"\xe2 \xe3 \xe4 ",
    "a start within": "κόσ".encode() + b"\xce" + b"k",
    "an overlong slash of two": b"\xc0\xaf",
    "an overlong slash of three": b"\xe0\x80\xaf",
    "an overlong slash of four": b"\xf0\x80\x80\xaf",
    "an overlong slash of five": b"\xf8\x80\x80\x80\xaf",
    "an overlong slash of six": b"\xfc\x80\x80\x80\x80\xaf",
    "the largest overlong of two": b"\xc1\xbf",
    "the largest overlong of three": b"\xe0\x9f\xbf",
    "the largest overlong of four": b"\xf0\x8f\xbf\xbf",
    "an overlong NUL": b"\xc0\x80",
    "U+D800": b"\xed\xa0\x80",
    "U+DB7F": b"\xed\xad\xbf",
    "U+DFFF": b"\xed\xbf\xbf",
    "a pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "U+110000": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "FE": b"\xfe",
    "FF": b"\xff",
    "greek, then a surrogate": "κόσμε".encode() + b"\xed\xa0\x80edited",
}


def utf8():
    for name, payload in RIGHT.items():
        yield good(f"6.{name}", [frame(TEXT, payload)], [(TEXT, payload)])
        if 1 < len(payload) < 100:
            yield good(f"6.{name} by octets", fragments(TEXT, payload, 1), [(TEXT, payload)])
    for name, payload in WRONG.items():
        yield bad(f"6.{name}", [frame(TEXT, payload)], INVALID)
        yield good(f"6.{name}, binary", [frame(BINARY, payload)], [(BINARY, payload)])
        yield bad(f"6.{name} after a message", [frame(TEXT, payload)], INVALID, [frame(*HELLO)], [HELLO])
        if len(payload) > 1:
            yield bad(f"6.{name} by octets", fragments(TEXT, payload, 1), INVALID)


def closing():
    def own(name, frames, code, messages=(), pongs=(), before=()):
        steps = (b"".join(before), len(messages) + len(pongs)) if before else ()
        return Case(f"7.{name}", (*steps, b"".join(frames)), tuple(messages), tuple(pongs), code, closes=False)

    yield own("after a message", [close(1000)], 1000, [HELLO], before=[frame(*HELLO)])
    yield own("twice", [close(1000), close(1000)], 1000)
    yield own("then a ping", [close(1000), frame(PING, b"late")], 1000)
    yield own("then text", [close(1000), frame(TEXT, b"late")], 1000)
    yield own("then the rest of a message", [close(1000), frame(CONT, b"late")], 1000)
    yield own("then 200000 bytes", [close(1000), frame(TEXT, text(200_000))], 1000)
    yield own("without a code", [close()], NO_CODE)
    yield bad("7.half a code", [frame(CLOSE, b"\x03")])
    for reason in (b"", b"a", b"Hello World!", text(123), "κόσμε".encode()):
        yield own(f"reason of {len(reason)}", [close(1000, reason)], 1000)
    yield bad("7.reason of 124", [close(1000, text(124))])
    yield bad("7.no text", [close(1000, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80")], INVALID)
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        yield own(f"code {code}", [close(code, b"why")], code)
    for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535):
        yield bad(f"7.code {code}", [close(code)])


def limits():
    for size in (1 << 16, 1 << 18, MESSAGE_MAX):
        for kind, opcode, make in (("text", TEXT, text), ("binary", BINARY, binary)):
            yield good(f"9.{kind} {size}", [frame(opcode, make(size))], [(opcode, make(size))])
    yield bad("9.text beyond the bound", [frame(TEXT, text(MESSAGE_MAX + 1))], TOO_BIG)
    yield bad("9.fragments beyond the bound", fragments(BINARY, binary(MESSAGE_MAX + 1), 1 << 18), TOO_BIG)
    # A frame that says so of itself; nothing of it follows.
    yield bad("9.all of 63 bits", [b"\x82\xff" + ((1 << 63) - 1).to_bytes(8, "big") + b"mask"], TOO_BIG)
    yield bad("9.64 bits", [b"\x82\xff\xff" + bytes(7) + b"mask"], TOO_BIG)
    for size in (4_096, 16_384, 65_536, 1 << 18):
        payload = binary(1 << 19)
        yield good(f"9.fragments of {size}", fragments(BINARY, payload, size), [(BINARY, payload)])
    for size in (64, 512, 2_048):
        payload = text(1 << 16)
        yield good(f"9.text by {size}", [frame(TEXT, payload)], [(TEXT, payload)], chop=size)
    for size in (0, 16, 64, 256, 1_024, 16_384):
        for opcode, make in ((TEXT, text), (BINARY, binary)):
            count = 100 if size < 10_000 else 20
            steps = [step for at in range(count) for step in (frame(opcode, make(size)), at + 1)]
            yield Case(f"9.{count} times opcode {opcode} of {size}", tuple(steps), ((opcode, make(size)),) * count)
    yield good("9.500 at once", [frame(BINARY, binary(at)) for at in range(500)], [(BINARY, binary(at)) for at in range(500)])


def others():
    yield good("10.in frames of 1300", fragments(TEXT, text(65_536), 1_300), [(TEXT, text(65_536))])
    unmasked = b"\x81\x05Hello"
    yield bad("10.without a mask", [unmasked])
    # RFC 6455 §5.2 forbids it to who sends; the origin takes it.
    wide = b"\x82\xfe\x00\x05mask" + masked(b"Hello", b"mask")
    yield good("10.length not the shortest", [wide], [(BINARY, b"Hello")])
    yield Case("10.nothing but a close", (), close=NORMAL)


def broken_off():
    def broken(name, *steps, messages=()):
        return Case(f"11.{name}", steps, tuple(messages), close=None, closes=False)

    drop, hello = frame(TEXT, DROP), frame(*HELLO)
    yield broken("by the origin", drop)
    yield broken("by the origin after a message", hello, 1, drop, messages=[HELLO])
    yield broken("by the origin within a frame", drop + hello[:5])
    yield broken("by the origin, and more comes", drop + frame(BINARY, binary(200_000)))
    yield broken("by the client", END)
    yield broken("by the client after a message", hello, 1, END, messages=[HELLO])
    yield broken("by the client within a message", hello, 1, frame(TEXT, b"half", fin=False), END, messages=[HELLO])
    for size in (1, 3, 9):
        yield broken(f"by the client within a frame, {size}", hello, 1, hello[:size], END, messages=[HELLO])
    large = (BINARY, binary(200_000))
    yield broken("by the client behind a large message", frame(*large), END, messages=[large])
    yield Case("11.a close, then the client's end", (close(1000), END), closes=False)


OFFERS = (
    "permessage-deflate",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; server_no_context_takeover",
    "permessage-deflate; client_no_context_takeover",
    "permessage-deflate; server_max_window_bits=9",
    "permessage-deflate; client_max_window_bits=9; server_max_window_bits=9; server_no_context_takeover",
    "permessage-deflate; unknown=1, permessage-deflate; client_max_window_bits=10",
)


def deflate():
    kinds = (
        ("text", TEXT, lambda size: (b"the quick brown fox " * (size // 20 + 1))[:size]),
        # Bytes that do not get shorter.
        ("binary", BINARY, lambda size: b"".join(zlib.crc32(bytes([at % 251]), at).to_bytes(4, "big") for at in range(size // 4))),
    )
    for number, offer in enumerate(OFFERS):
        for kind, opcode, make in kinds:
            for size, fragment in ((16, 0), (64, 16), (1_024, 0), (8_192, 1_000), (131_072, 32_768)):
                payload = make(size)
                name = f"{12 + (number > 0)}.offer {number}, {kind} {size} by {fragment}"
                steps = tuple(step for at in range(3) for step in (Deflated(opcode, payload, fragment), at + 1))
                yield Case(name, steps, ((opcode, payload),) * 3, offer=offer)
    plain = (frame(*HELLO), 1)
    yield Case("13.not compressed", plain, (HELLO,), offer=OFFERS[0])
    bomb = b"\0" * (MESSAGE_MAX + 1)
    yield Case("13.too much when it is unpacked", (Deflated(BINARY, bomb),), close=TOO_BIG, closes=False, offer=OFFERS[0])
    yield Case("13.no such offer", plain, (HELLO,), offer="x-unknown; a=1")


def every():
    groups = (framing, pings, reserved_bits, opcodes, fragmentation, utf8, closing, limits, others, broken_off, deflate)
    for group in groups:
        for case in group():
            yield case
            sent = [step for step in case.steps if isinstance(step, bytes)]
            is_plain = case.chop == 0 and case.offer == "" and case.group != "11" and len(case.steps) < 10
            if is_plain and 0 < sum(map(len, sent)) <= CHOPPED_MAX:
                yield Case(f"{case.name}, octets", case.steps, case.messages, case.pongs, case.close, case.closes, chop=1)
