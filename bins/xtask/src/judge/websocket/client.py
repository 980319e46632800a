"""The client of the judge `websocket`: plays each case directly and on each way through the proxy, and holds the verdicts against each other.

    client.py COUNT direct=h1:PORT WAY=VERSION:PORT ...

A verdict is all that the server said, frame for frame, and how the connection ended. The direct one has to be what the case says is due, each other one the
direct one. So that it is known to see something, the first cases are played once more on a way that alters one bit: each has to be told apart.
"""

import asyncio
import base64
import hashlib
import json
import os
import socket
import sys
import zlib

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from cases import BINARY, CLOSE, CONT, END, NO_CODE, PING, PONG, TEXT, Deflated, close, every, frame, framing

HOST = "127.0.0.1"
# A case takes milliseconds; the longest, on a busy machine, two seconds.
CASE_LIMIT = 10
# A way on which so many cases take too long is not gone on with.
HUNG_MAX = 5
# Cases under way at once on one way.
AT_ONCE = 8
WINDOW = 1 << 20
ALTERED = 8
# Differences of a way that are printed.
SHOWN_MAX = 10


class Http1:
    """A connection of its own for each case."""

    def __init__(self, port):
        self.port = port

    async def open(self, offer):
        reader, writer = await asyncio.open_connection(HOST, self.port)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            "GET /echo HTTP/1.1",
            "Host: echo.test",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
            *([f"Sec-WebSocket-Extensions: {offer}"] if offer else []),
        ]
        writer.write("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:-2])
        hashed = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        accepts = [line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-accept: ")]
        assert head.startswith("HTTP/1.1 101 "), head
        assert fields["upgrade"] == "websocket" and fields["connection"] == "upgrade", head
        assert accepts == [base64.b64encode(hashed).decode()], head
        return Http1Tunnel(reader, writer, fields.get("sec-websocket-extensions", ""))

    async def finish(self):
        pass


class Http1Tunnel:
    end = "open"

    def __init__(self, reader, writer, extensions):
        self.reader, self.writer, self.extensions = reader, writer, extensions

    async def receive(self):
        try:
            data = await self.reader.read(1 << 16)
        except ConnectionError:
            self.end = "reset"
            return b""
        if not data:
            self.end = "end"
        return data

    async def send(self, data):
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError:
            pass  # the reader says so

    async def finish(self):
        try:
            self.writer.write_eof()
        except OSError:
            pass  # it is gone

    async def close(self):
        self.writer.close()


class Http2:
    """A stream for each case, on one connection as long as that lives."""

    def __init__(self, port):
        self.port = port
        self.begun = asyncio.Lock()
        self.connection = None

    async def open(self, offer):
        async with self.begun:
            if self.connection is None or self.connection.transport.is_closing():
                loop = asyncio.get_running_loop()
                _, self.connection = await loop.create_connection(Http2Connection, HOST, self.port)
            await self.connection.ready.wait()
        return await self.connection.open(offer)

    async def finish(self):
        if self.connection is not None:
            self.connection.transport.close()


class Http2Connection(asyncio.Protocol):
    def __init__(self):
        self.ready = asyncio.Event()
        self.streams = {}
        # Set, and made anew, when a window opens.
        self.opened = asyncio.Event()
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.h2.local_settings = h2.settings.Settings(
            client=True,
            initial_values={
                h2.settings.SettingCodes.ENABLE_PUSH: 0,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
            },
        )

    async def open(self, offer):
        # RFC 8441 §3
        assert self.h2.remote_settings.enable_connect_protocol == 1, "extended CONNECT is not offered"
        stream = Http2Tunnel(self, self.h2.get_next_available_stream_id())
        self.streams[stream.number] = stream
        fields = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", "/echo"),
            (":authority", "echo.test"),
            ("sec-websocket-version", "13"),
            *([("sec-websocket-extensions", offer)] if offer else []),
        ]
        self.h2.send_headers(stream.number, fields)
        self.flush()
        fields = await stream.head
        names = [name for name in fields if name in ("sec-websocket-accept", "sec-websocket-key", "upgrade", "connection")]
        assert fields[":status"] == "200" and not names, fields
        stream.extensions = fields.get("sec-websocket-extensions", "")
        return stream

    def flush(self):
        self.transport.write(self.h2.data_to_send())

    def connection_made(self, transport):
        self.transport = transport
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(WINDOW * AT_ONCE)
        self.flush()

    def connection_lost(self, error):
        for stream in self.streams.values():
            stream.ended("lost")
        self.opened.set()

    def data_received(self, data):
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            print(f"HTTP/2 broken by the other side: {error!r}")
            self.transport.close()
            return
        for event in events:
            stream = self.streams.get(getattr(event, "stream_id", None))
            match event:
                case h2.events.RemoteSettingsChanged():
                    self.ready.set()
                case h2.events.ResponseReceived():
                    fields = {name.decode(): value.decode() for name, value in event.headers}
                    stream.head.set_result(fields)
                case h2.events.DataReceived():
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    stream.queue.put_nowait(event.data)
                case h2.events.StreamEnded():
                    stream.ended("end")
                case h2.events.StreamReset():
                    stream.ended(f"reset {event.error_code}")
                case h2.events.ConnectionTerminated():
                    print(f"GOAWAY {event.error_code}")
        opened, self.opened = self.opened, asyncio.Event()
        opened.set()
        self.flush()


class Http2Tunnel:
    end = "open"

    def __init__(self, connection, number):
        self.connection = connection
        self.number = number
        self.queue = asyncio.Queue()
        self.head = asyncio.get_running_loop().create_future()

    def ended(self, how):
        self.queue.put_nowait(None)
        if self.end == "open":
            self.end = how
        if not self.head.done():
            self.head.set_exception(ConnectionError(how))

    async def receive(self):
        return await self.queue.get() or b""

    async def send(self, data):
        link = self.connection.h2
        while data and self.end in ("open", "end"):
            try:
                room = min(link.local_flow_control_window(self.number), link.max_outbound_frame_size)
            except h2.exceptions.StreamClosedError:
                return  # a reset came behind the end: what is left to say nobody wants any more
            if room <= 0:
                await self.connection.opened.wait()
                continue
            link.send_data(self.number, data[:room])
            self.connection.flush()
            data = data[room:]

    async def finish(self):
        try:
            self.connection.h2.end_stream(self.number)
            self.connection.flush()
        except h2.exceptions.ProtocolError:
            pass  # it has ended, or was reset

    async def close(self):
        await self.finish()


class Frames:
    """What the server says, frame by frame."""

    def __init__(self, extensions):
        self.extensions = extensions
        self.unread = b""
        self.said = []
        self.messages = []
        self.pongs = []
        self.close = None
        self.part = None
        bits = parameter(extensions, "server_max_window_bits", 15)
        self.takes_over = "server_no_context_takeover" not in extensions
        self.fresh = lambda: zlib.decompressobj(-bits)
        self.inflater = self.fresh()

    def feed(self, data):
        self.unread += data
        while (size := self.size()) is not None and len(self.unread) >= size:
            one, self.unread = self.unread[:size], self.unread[size:]
            self.take(one)

    def size(self):
        """Of the first frame, if its head is there."""
        if len(self.unread) < 2:
            return None
        size = self.unread[1]
        if size < 126:
            return 2 + size
        # What is masked, as no server may, is longer than anything: it stays unread, and the verdict says so.
        wide = 2 if size == 126 else 8
        return None if len(self.unread) < 2 + wide else 2 + wide + int.from_bytes(self.unread[2 : 2 + wide], "big")

    def take(self, one):
        opcode, size = one[0] & 15, one[1]
        payload = one[2 if size < 126 else 4 if size == 126 else 10 :]
        self.said.append(f"{one[0]:02x} {len(payload)} {zlib.crc32(one):08x}")
        if opcode in (TEXT, BINARY, CONT):
            if opcode != CONT:
                self.part = [opcode, b"", bool(one[0] & 0x40)]
            self.part[1] += payload
            if one[0] & 0x80:
                opcode, payload, compressed = self.part
                self.messages.append((opcode, self.inflate(payload) if compressed else payload))
        elif opcode == PONG:
            self.pongs.append(payload)
        elif opcode == CLOSE:
            self.close = (int.from_bytes(payload[:2], "big") if payload else NO_CODE, payload[2:].hex())

    def inflate(self, payload):
        if not self.takes_over:
            self.inflater = self.fresh()
        return self.inflater.decompress(payload + b"\0\0\xff\xff")

    @property
    def count(self):
        return len(self.messages) + len(self.pongs)


def parameter(extensions, name, otherwise):
    values = [part.split("=")[1] for part in extensions.split("; ") if part.startswith(f"{name}=")]
    return int(values[0].strip('"')) if values else otherwise


class Deflater:
    """Compresses as it was agreed."""

    def __init__(self, extensions):
        bits = parameter(extensions, "client_max_window_bits", 15)
        self.fresh = lambda: zlib.compressobj(wbits=-bits)
        self.deflater = self.fresh()
        self.takes_over = "client_no_context_takeover" not in extensions

    def frames(self, message):
        if not self.takes_over:
            self.deflater = self.fresh()
        data = self.deflater.compress(message.payload) + self.deflater.flush(zlib.Z_SYNC_FLUSH)
        data = data.removesuffix(b"\0\0\xff\xff")
        size = message.fragment or len(data)
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        last = len(pieces) - 1
        frames = [frame(CONT if at else message.opcode, piece, at == last, 0 if at else 4) for at, piece in enumerate(pieces)]
        return b"".join(frames)


async def play(case, way):
    """The verdict, and what is due of it."""
    try:
        async with asyncio.timeout(CASE_LIMIT):
            tunnel = await way.open(case.offer)
    except (AssertionError, OSError, TimeoutError, asyncio.IncompleteReadError, h2.exceptions.ProtocolError) as error:
        return {"handshake": repr(error)}, None
    frames, heard = Frames(tunnel.extensions), asyncio.Condition()

    async def read():
        while data := await tunnel.receive():
            async with heard:
                frames.feed(data)
                heard.notify_all()
        async with heard:
            heard.notify_all()

    reader = asyncio.create_task(read())
    try:
        async with asyncio.timeout(CASE_LIMIT):
            await say(case, tunnel, frames, heard, reader)
            await reader
    except TimeoutError:
        pass
    finally:
        reader.cancel()
        await tunnel.close()
    # Whether a reset comes as one or as an end, a WebSocket takes for the same: it ended without a Close (RFC 6455 §7.1.5).
    end = "broken off" if frames.close is None and tunnel.end != "open" else tunnel.end
    verdict = {
        "extensions": tunnel.extensions,
        # A pong is said at once, an echo in its turn: which of them is first is chance.
        "frames": sorted(frames.said, key=lambda said: said[1] == f"{PONG:x}"),
        "rest": frames.unread.hex(),
        "close": frames.close,
        "end": end,
    }
    return verdict, (tuple(frames.messages), tuple(frames.pongs), frames.close and frames.close[0], end)


async def say(case, tunnel, frames, heard, reader):
    deflater = Deflater(tunnel.extensions)
    for step in case.steps:
        if isinstance(step, int):
            async with heard:
                await heard.wait_for(lambda: frames.count >= step or tunnel.end != "open")
            continue
        if step is END:
            await tunnel.finish()
            continue
        data = deflater.frames(step) if isinstance(step, Deflated) else step
        size = case.chop or len(data)
        for at in range(0, len(data), size or 1):
            await tunnel.send(data[at : at + size])
            if case.chop:
                await asyncio.sleep(0)
    if case.closes:
        await tunnel.send(close(1000))


async def play_all(cases, way):
    room, hung = asyncio.Semaphore(AT_ONCE), []

    async def one(case):
        async with room:
            if len(hung) >= HUNG_MAX:
                return {"left out": "too many hang"}, None
            played = await play(case, way)
            if "Timeout" in played[0].get("handshake", "") or played[0].get("end") == "open":
                hung.append(case.name)
            return played

    verdicts = await asyncio.gather(*(one(case) for case in cases))
    await way.finish()
    return verdicts


async def alter(port):
    """A way that turns a bit of the last octet of all that the client sends behind its request; its port."""

    async def pipe(reader, writer, turn):
        try:
            if turn:
                writer.write(await reader.readuntil(b"\r\n\r\n"))
            while data := await reader.read(1 << 16):
                writer.write(data[:-1] + bytes([data[-1] ^ turn]))
                await writer.drain()
            writer.write_eof()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    async def serve(reader, writer):
        served.append(asyncio.current_task())
        to_reader, to_writer = await asyncio.open_connection(HOST, port)
        await asyncio.gather(pipe(reader, to_writer, 1), pipe(to_reader, writer, 0))

    served = []
    server = await asyncio.start_server(serve, HOST, 0)
    return server.sockets[0].getsockname()[1], served


def chosen(count):
    """So many of the cases, of every group its part; all, where it is 0."""
    cases = list(every())
    assert len({case.name for case in cases}) == len(cases), "a name twice"
    if count == 0 or count >= len(cases):
        return cases
    ordered = sorted(cases, key=lambda case: int(case.group))
    return [ordered[at * len(ordered) // count] for at in range(count)]


async def main():
    cases = chosen(int(sys.argv[1]))
    ways = {}
    for word in sys.argv[2:]:
        name, where = word.split("=")
        version, port = where.split(":")
        ways[name] = {"h1": Http1, "h2": Http2}[version](int(port))
    direct = ways.pop("direct")
    verdicts = await play_all(cases, direct)
    wrong = 0
    for case, (verdict, told) in zip(cases, verdicts):
        due = (case.messages, case.pongs, case.close, "end" if case.close else "broken off")
        if told != due:
            wrong += 1
            print(f"direct, {case.name}: not what is due: {json.dumps(verdict)[:500]}")
    print(f"way direct {len(cases) - wrong}/{len(cases)}")
    for name, way in ways.items():
        same, shown = 0, 0
        for case, (expect, _), (got, _) in zip(cases, verdicts, await play_all(cases, way)):
            same += got == expect
            shown += got != expect
            if got != expect and shown <= SHOWN_MAX:
                print(f"{name}, {case.name}: {json.dumps(got)[:500]}\n    directly: {json.dumps(expect)[:500]}")
        print(f"way {name} {same}/{len(cases)}")
    port, served = await alter(direct.port)
    # In whole frames: a bit of each octet would leave nothing to answer.
    plain = [case for case in framing() if case.chop == 0][:ALTERED]
    altered = list(zip(await play_all(plain, direct), await play_all(plain, Http1(port))))
    told_apart = sum(got != expect for (expect, _), (got, _) in altered)
    await asyncio.wait(served)
    print(f"way altered {told_apart}/{len(altered)}")


asyncio.run(main())
