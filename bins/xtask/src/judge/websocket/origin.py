"""The origin of the judge `websocket`: an echo of messages by the library `websockets`, over HTTP/1 by its server, over HTTP/2 (RFC 8441) by
`h2` and the library's protocol without sockets. Says its two ports in a line, and serves until it is ended."""

import asyncio
import logging

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.extensions.permessage_deflate import enable_server_permessage_deflate
from websockets.frames import Opcode
from websockets.protocol import Protocol, Side
from websockets.server import ServerProtocol

from cases import DROP, MESSAGE_MAX

WINDOW = 1 << 20


async def echo(connection):
    async for message in connection:
        if message == DROP.decode():
            connection.transport.abort()
        else:
            await connection.send(message)


class Echo:
    """One WebSocket without a socket."""

    def __init__(self, extensions):
        self.protocol = Protocol(Side.SERVER, max_size=MESSAGE_MAX)
        self.protocol.extensions = extensions
        self.is_dropped = False
        self.opcode = None
        self.parts = []

    def receive(self, data):
        self.protocol.receive_data(data)
        for event in self.protocol.events_received():
            if event.opcode in (Opcode.TEXT, Opcode.BINARY):
                self.opcode, self.parts = event.opcode, []
            elif event.opcode is not Opcode.CONT:
                continue
            self.parts.append(bytes(event.data))
            if event.fin:
                self.answer(b"".join(self.parts))
        return self.protocol.data_to_send()

    def answer(self, message):
        self.is_dropped |= message == DROP
        # The library's server looks at text when it is whole, and sends nothing once it has ended.
        if self.opcode is Opcode.TEXT:
            try:
                message.decode()
            except UnicodeDecodeError as error:
                self.protocol.fail(1007, f"{error.reason} at position {error.start}")
        if self.protocol.state.name == "OPEN":
            send = self.protocol.send_text if self.opcode is Opcode.TEXT else self.protocol.send_binary
            send(message)


class Connection(asyncio.Protocol):
    """One connection of HTTP/2."""

    def __init__(self):
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        codes = h2.settings.SettingCodes
        self.h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                codes.ENABLE_CONNECT_PROTOCOL: 1,
                codes.INITIAL_WINDOW_SIZE: WINDOW,
                codes.MAX_CONCURRENT_STREAMS: 100,
            },
        )
        self.echoes = {}
        # What waits for a window; None is the end.
        self.unsent = {}

    def connection_made(self, transport):
        self.transport = transport
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(WINDOW)
        self.flush()

    def flush(self):
        self.transport.write(self.h2.data_to_send())

    def data_received(self, data):
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            events = []
        for event in events:
            self.on(event)
        for stream in list(self.unsent):
            self.send(stream)
        self.flush()

    def on(self, event):
        match event:
            case h2.events.RequestReceived():
                self.begin(event.stream_id, {name.decode(): value.decode() for name, value in event.headers}, event)
            case h2.events.DataReceived():
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if event.stream_id in self.echoes:
                    self.answer(event.stream_id, event.data)
            case h2.events.StreamEnded():
                if event.stream_id in self.echoes:
                    protocol = self.echoes.pop(event.stream_id).protocol
                    protocol.receive_eof()
                    self.queue(event.stream_id, protocol.data_to_send())
            case h2.events.StreamReset():
                self.echoes.pop(event.stream_id, None)
                self.unsent.pop(event.stream_id, None)

    def begin(self, stream, fields, event):
        asked = fields.get(":method"), fields.get(":protocol"), fields.get("sec-websocket-version")
        is_clean = "sec-websocket-key" not in fields and "upgrade" not in fields and event.stream_ended is None
        if asked != ("CONNECT", "websocket", "13") or not is_clean:
            self.h2.send_headers(stream, [(":status", "400")], end_stream=True)
            return
        offered = Headers()
        if "sec-websocket-extensions" in fields:
            offered["Sec-WebSocket-Extensions"] = fields["sec-websocket-extensions"]
        factory = ServerProtocol(extensions=enable_server_permessage_deflate(None))
        answer, extensions = factory.process_extensions(offered)
        more = [("sec-websocket-extensions", answer)] if answer else []
        self.h2.send_headers(stream, [(":status", "200"), *more])
        self.echoes[stream] = Echo(extensions)

    def answer(self, stream, data):
        writes = self.echoes[stream].receive(data)
        if self.echoes[stream].is_dropped:
            del self.echoes[stream]
            self.unsent.pop(stream, None)
            self.h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
        else:
            self.queue(stream, writes)

    def queue(self, stream, writes):
        waiting = self.unsent.setdefault(stream, [])
        waiting.extend(data or None for data in writes)

    def send(self, stream):
        waiting = self.unsent[stream]
        try:
            while waiting:
                if waiting[0] is None:
                    self.h2.end_stream(stream)
                    waiting.clear()
                    break
                room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
                if room <= 0:
                    return
                data = bytes(waiting[0][:room])
                self.h2.send_data(stream, data)
                waiting[0] = waiting[0][room:]
                if not waiting[0]:
                    waiting.pop(0)
        except h2.exceptions.ProtocolError:
            waiting.clear()
        del self.unsent[stream]


async def main():
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    old = await serve(echo, "127.0.0.1", 0, max_size=MESSAGE_MAX, ping_interval=None, server_header=None)
    new = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(*(server.sockets[0].getsockname()[1] for server in (old, new)), flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
