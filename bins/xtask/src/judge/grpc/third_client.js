// A third gRPC client: the interop cases by grpc-js, which shares no code with grpcio and grpclib, on the HTTP/2 of Node.
//
//   node third_client.js PROTOS NAME:PORT ...     PROTOS: the folder of the official protos
//
// Prints as the outside runner does: NAME, how many held, and those that did not with why.

"use strict";

const assert = require("node:assert");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const LIMIT_MS = 10_000;
const SIZES = [31415, 9, 2653, 58979];
const CONTENT = [27182, 8, 1828, 45904];

const soon = (milliseconds = LIMIT_MS) => ({ deadline: Date.now() + milliseconds });
const payload = (size) => ({ body: Buffer.alloc(size) });
const wanted = (size, own = 0, interval_us = 0) => ({
  response_parameters: [{ size, interval_us }],
  payload: payload(own),
});

// A unary call's answer, and what came beside it.
function unary(client, method, request, metadata = new grpc.Metadata(), options = soon()) {
  return new Promise((resolve, reject) => {
    const came = {};
    const call = client[method](request, metadata, options, (error, reply) =>
      error ? reject(error) : setImmediate(() => resolve({ ...came, reply })),
    );
    call.on("metadata", (initial) => (came.initial = initial));
    call.on("status", (status) => (came.trailing = status.metadata));
  });
}

// Messages of a stream, one after the other; the last is null.
function messages(call) {
  const came = [];
  let failure = null;
  let waiting = null;
  const tell = () => {
    if (!waiting || (came.length === 0 && !failure)) return;
    const { resolve, reject } = waiting;
    waiting = null;
    if (came.length > 0) resolve(came.shift());
    else reject(failure);
  };
  const push = (message) => {
    came.push(message);
    tell();
  };
  call.on("data", push);
  call.on("end", () => push(null));
  call.on("error", (error) => {
    failure = error;
    tell();
  });
  return () =>
    new Promise((resolve, reject) => {
      waiting = { resolve, reject };
      tell();
    });
}

async function all(call) {
  const next = messages(call);
  const came = [];
  for (let message = await next(); message !== null; message = await next()) came.push(message);
  return came;
}

async function refused(work, code, details) {
  const error = await work.then(
    () => assert.fail("no error"),
    (error) => error,
  );
  assert.strictEqual(error.code, code, String(error));
  if (details !== undefined) assert.strictEqual(error.details, details);
}

const UNKNOWN = grpc.status.UNKNOWN;

const CASES = {
  empty_unary: ({ test }) => unary(test, "EmptyCall", {}),

  async large_unary({ test }) {
    const { reply } = await unary(test, "UnaryCall", { response_size: 314159, payload: payload(271828) });
    assert.strictEqual(reply.payload.body.length, 314159);
  },

  async client_streaming({ test }) {
    const size = await new Promise((resolve, reject) => {
      const call = test.StreamingInputCall(soon(), (error, reply) =>
        error ? reject(error) : resolve(reply.aggregated_payload_size),
      );
      for (const size of CONTENT) call.write({ payload: payload(size) });
      call.end();
    });
    assert.strictEqual(size, 74922);
  },

  async server_streaming({ test }) {
    const request = { response_parameters: SIZES.map((size) => ({ size })) };
    const came = await all(test.StreamingOutputCall(request, soon()));
    assert.deepStrictEqual(
      came.map((reply) => reply.payload.body.length),
      SIZES,
    );
  },

  async ping_pong({ test }) {
    const call = test.FullDuplexCall(soon());
    const next = messages(call);
    for (const [at, size] of SIZES.entries()) {
      call.write(wanted(size, CONTENT[at]));
      assert.strictEqual((await next()).payload.body.length, size);
    }
    call.end();
    assert.strictEqual(await next(), null);
  },

  async empty_stream({ test }) {
    const call = test.FullDuplexCall(soon());
    call.end();
    assert.deepStrictEqual(await all(call), []);
  },

  async custom_metadata({ test }) {
    const metadata = new grpc.Metadata();
    metadata.set("x-grpc-test-echo-initial", "test_initial_metadata_value");
    metadata.set("x-grpc-test-echo-trailing-bin", Buffer.from([0xab, 0xab, 0xab]));
    const { reply, initial, trailing } = await unary(test, "UnaryCall", { response_size: 314159 }, metadata);
    assert.strictEqual(reply.payload.body.length, 314159);
    assert.deepStrictEqual(initial.get("x-grpc-test-echo-initial"), ["test_initial_metadata_value"]);
    assert.deepStrictEqual(trailing.get("x-grpc-test-echo-trailing-bin"), [Buffer.from([0xab, 0xab, 0xab])]);
  },

  async status_code_and_message({ test }) {
    const response_status = { code: 2, message: "test status message" };
    await refused(unary(test, "UnaryCall", { response_status }), UNKNOWN, response_status.message);
    const call = test.FullDuplexCall(soon());
    call.write({ response_status });
    call.end();
    await refused(all(call), UNKNOWN, response_status.message);
  },

  async special_status_message({ test }) {
    const message = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \u{1f608}\t\n";
    await refused(unary(test, "UnaryCall", { response_status: { code: 2, message } }), UNKNOWN, message);
  },

  unimplemented_method: ({ test }) => refused(unary(test, "UnimplementedCall", {}), grpc.status.UNIMPLEMENTED),

  unimplemented_service: ({ none }) => refused(unary(none, "UnimplementedCall", {}), grpc.status.UNIMPLEMENTED),

  async cancel_after_begin({ test }) {
    const answer = new Promise((resolve, reject) => {
      const call = test.StreamingInputCall((error, reply) => (error ? reject(error) : resolve(reply)));
      // The head has left by then.
      setImmediate(() => call.cancel());
    });
    await refused(answer, grpc.status.CANCELLED);
    await unary(test, "EmptyCall", {});
  },

  async cancel_after_first_response({ test }) {
    const call = test.FullDuplexCall();
    const next = messages(call);
    call.write(wanted(31415, 27182));
    assert.strictEqual((await next()).payload.body.length, 31415);
    call.cancel();
    await refused(next(), grpc.status.CANCELLED);
    await unary(test, "EmptyCall", {});
  },

  async timeout_on_sleeping_server({ test }) {
    const call = test.FullDuplexCall(soon(50));
    call.write(wanted(1, 27182, 1_000_000));
    await refused(all(call), grpc.status.DEADLINE_EXCEEDED);
  },

  async many_small_pingpong({ test }) {
    const call = test.FullDuplexCall(soon(2 * LIMIT_MS));
    const next = messages(call);
    for (let size = 0; size < 300; size++) {
      call.write(wanted(size));
      assert.strictEqual((await next()).payload.body.length, size);
    }
    call.end();
    assert.strictEqual(await next(), null);
  },
};

// A case that never comes to an end is one that failed.
function within(work, milliseconds) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error("no end")), milliseconds);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

async function main([protos, ...ways]) {
  const options = { keepCase: true, longs: Number, defaults: true, includeDirs: [protos] };
  const { testing } = grpc.loadPackageDefinition(await loader.load("test.proto", options)).grpc;
  for (const way of ways) {
    const [name, port] = way.split(":");
    const service = (Service) => new Service(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
    const clients = { test: service(testing.TestService), none: service(testing.UnimplementedService) };
    const wrong = [];
    for (const [name, play] of Object.entries(CASES)) {
      try {
        await within(play(clients), 3 * LIMIT_MS);
      } catch (error) {
        wrong.push(`${name}: ${String(error).slice(0, 160)}`);
      }
    }
    console.log(name, Object.keys(CASES).length - wrong.length, "ok", JSON.stringify(wrong));
    Object.values(clients).forEach((client) => client.close());
  }
}

main(process.argv.slice(2));
