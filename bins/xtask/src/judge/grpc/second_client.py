"""A second gRPC client: the interop cases by grpclib, which shares no code with grpcio.

    python second_client.py NAME:PORT ...     wants the modules that protoc makes of the official protos in gen/

Prints as the outside runner does: NAME, how many held, and those that did not with why.
"""

import asyncio
import sys

sys.path.insert(0, "gen")

import empty_pb2
import messages_pb2 as m
from grpclib.client import Channel, StreamStreamMethod, StreamUnaryMethod, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Status
from grpclib.exceptions import GRPCError

SERVICE = "/grpc.testing.TestService/"
LIMIT = 10
SIZES = (31415, 9, 2653, 58979)
CONTENT = (27182, 8, 1828, 45904)


def content(size):
    return m.Payload(body=b"\0" * size)


def wanted(*sizes, interval_us=0):
    parameters = [m.ResponseParameters(size=size, interval_us=interval_us) for size in sizes]
    return m.StreamingOutputCallRequest(response_parameters=parameters)


class Cases:
    def __init__(self, channel):
        output, reply = m.StreamingOutputCallRequest, m.StreamingOutputCallResponse
        self.empty = UnaryUnaryMethod(channel, SERVICE + "EmptyCall", empty_pb2.Empty, empty_pb2.Empty)
        self.unary = UnaryUnaryMethod(channel, SERVICE + "UnaryCall", m.SimpleRequest, m.SimpleResponse)
        self.input = StreamUnaryMethod(
            channel, SERVICE + "StreamingInputCall", m.StreamingInputCallRequest, m.StreamingInputCallResponse
        )
        self.output = UnaryStreamMethod(channel, SERVICE + "StreamingOutputCall", output, reply)
        self.duplex = StreamStreamMethod(channel, SERVICE + "FullDuplexCall", output, reply)
        path = SERVICE + "UnimplementedCall"
        self.no_method = UnaryUnaryMethod(channel, path, empty_pb2.Empty, empty_pb2.Empty)
        path = "/grpc.testing.UnimplementedService/UnimplementedCall"
        self.no_service = UnaryUnaryMethod(channel, path, empty_pb2.Empty, empty_pb2.Empty)

    async def empty_unary(self):
        await self.empty(empty_pb2.Empty(), timeout=LIMIT)

    async def large_unary(self):
        request = m.SimpleRequest(response_size=314159, payload=content(271828))
        reply = await self.unary(request, timeout=LIMIT)
        assert len(reply.payload.body) == 314159

    async def client_streaming(self):
        reply = await self.input([m.StreamingInputCallRequest(payload=content(size)) for size in CONTENT], timeout=LIMIT)
        assert reply.aggregated_payload_size == sum(CONTENT)

    async def server_streaming(self):
        replies = await self.output(wanted(*SIZES), timeout=LIMIT)
        assert [len(reply.payload.body) for reply in replies] == list(SIZES)

    async def ping_pong(self):
        async with self.duplex.open(timeout=LIMIT) as stream:
            for size, own in zip(SIZES, CONTENT):
                request = wanted(size)
                request.payload.body = b"\0" * own
                await stream.send_message(request)
                assert len((await stream.recv_message()).payload.body) == size
            await stream.end()
            assert await stream.recv_message() is None

    async def empty_stream(self):
        async with self.duplex.open(timeout=LIMIT) as stream:
            await stream.send_request()
            await stream.end()
            assert await stream.recv_message() is None

    async def custom_metadata(self):
        metadata = {
            "x-grpc-test-echo-initial": "test_initial_metadata_value",
            "x-grpc-test-echo-trailing-bin": b"\xab\xab\xab",
        }
        async with self.unary.open(metadata=metadata, timeout=LIMIT) as stream:
            await stream.send_message(m.SimpleRequest(response_size=314159), end=True)
            await stream.recv_initial_metadata()
            assert stream.initial_metadata["x-grpc-test-echo-initial"] == "test_initial_metadata_value"
            assert len((await stream.recv_message()).payload.body) == 314159
            await stream.recv_trailing_metadata()
            assert stream.trailing_metadata["x-grpc-test-echo-trailing-bin"] == b"\xab\xab\xab"

    async def refused(self, call, status, message=None):
        try:
            await call
        except GRPCError as error:
            assert error.status is status, error
            assert message is None or error.message == message, error
        else:
            raise AssertionError("no error")

    async def status_code_and_message(self):
        status = m.EchoStatus(code=2, message="test status message")
        call = self.unary(m.SimpleRequest(response_status=status), timeout=LIMIT)
        await self.refused(call, Status.UNKNOWN, status.message)
        call = self.duplex([m.StreamingOutputCallRequest(response_status=status)], timeout=LIMIT)
        await self.refused(call, Status.UNKNOWN, status.message)

    async def special_status_message(self):
        status = m.EchoStatus(code=2, message="\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n")
        call = self.unary(m.SimpleRequest(response_status=status), timeout=LIMIT)
        await self.refused(call, Status.UNKNOWN, status.message)

    async def unimplemented_method(self):
        await self.refused(self.no_method(empty_pb2.Empty(), timeout=LIMIT), Status.UNIMPLEMENTED)

    async def unimplemented_service(self):
        await self.refused(self.no_service(empty_pb2.Empty(), timeout=LIMIT), Status.UNIMPLEMENTED)

    async def cancel_after_begin(self):
        async with self.input.open() as stream:
            await stream.send_request()
            await stream.cancel()
        await self.empty_unary()

    async def cancel_after_first_response(self):
        async with self.duplex.open() as stream:
            await stream.send_message(wanted(31415))
            assert len((await stream.recv_message()).payload.body) == 31415
            await stream.cancel()
        await self.empty_unary()

    async def timeout_on_sleeping_server(self):
        try:
            await self.duplex([wanted(1, interval_us=1_000_000)], timeout=0.05)
        except (asyncio.TimeoutError, GRPCError) as error:
            assert getattr(error, "status", Status.DEADLINE_EXCEEDED) is Status.DEADLINE_EXCEEDED, error
        else:
            raise AssertionError("no error")

    async def many_small_pingpong(self):
        async with self.duplex.open(timeout=2 * LIMIT) as stream:
            for size in range(300):
                await stream.send_message(wanted(size))
                assert len((await stream.recv_message()).payload.body) == size
            await stream.end()
            assert await stream.recv_message() is None


NAMES = [name for name in vars(Cases) if not name.startswith("_") and name != "refused"]


async def main():
    for word in sys.argv[1:]:
        name, port = word.split(":")
        wrong = []
        async with Channel("127.0.0.1", int(port)) as channel:
            cases = Cases(channel)
            for case in NAMES:
                try:
                    await asyncio.wait_for(getattr(cases, case)(), 3 * LIMIT)
                except Exception as error:
                    wrong.append((case, repr(error)[:160]))
        print(name, len(NAMES) - len(wrong), "ok", wrong, flush=True)


asyncio.run(main())
