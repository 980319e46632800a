"""What the client status discovery service (CSDS) says by gRPC, to grpcio and the published protos, and by HTTP/1 as JSON: the same.

python client_status.py FOLDER WAY[,WAY...] -- COMMAND...

Says a JSON object for each way: the facts that are not as they should be. Envoy does not serve it.
"""
import json
import sys
import time
import traceback

import grpc
from google.protobuf import json_format

# Importing a module makes its messages known to json_format.
from envoy.admin.v3 import config_dump_shared_pb2  # noqa: F401
from envoy.service.status.v3 import csds_pb2, csds_pb2_grpc
from envoy.type.matcher.v3 import node_pb2

from bed import SOON_S, T, Bed, Origin

LIMIT_S = 10
KEY = "not a key at all"
WANTED = {
    "unary": "as by http",
    "stream": "as by http",
    "contents are left out": True,
    "keys": "not told",
    "node": "judge",
    "statuses": "Cluster c1=ACKED Cluster c2=ACKED Cluster c3=NACKED ClusterLoadAssignment c1=ACKED "
                "ClusterLoadAssignment c2=DOES_NOT_EXIST Listener l1=ACKED RouteConfiguration r1=ACKED",
    "node_matchers": "INVALID_ARGUMENT",
    "another method": "UNIMPLEMENTED",
    "no message": "INVALID_ARGUMENT",
    "too large": "RESOURCE_EXHAUSTED",
    "compressed": "UNIMPLEMENTED",
}


def address(bed):
    with open(bed.said, encoding="utf-8") as said:
        return said.read().strip()


def shown(response):
    """A response as JSON in Envoy's spelling, with times cut to what the other form shows of them."""
    for client in response.config:
        for config in client.generic_xds_configs:
            for of, name in ((config, "last_updated"), (config.error_state, "last_update_attempt")):
                if of.HasField(name):
                    getattr(of, name).nanos -= getattr(of, name).nanos % 1_000_000
    return json_format.MessageToDict(response, preserving_proto_field_name=True)


def parsed(text):
    """What HTTP/1 says, read by the same protos and written again: spellings of times and numbers are no differences."""
    return shown(json_format.Parse(text, csds_pb2.ClientStatusResponse()))


def refused(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code().name
    return "answered"


def statuses(said):
    configs = said["config"][0].get("generic_xds_configs", [])
    rows = ((config["type_url"].rsplit(".", 1)[-1], config["name"], config["client_status"]) for config in configs)
    return " ".join(f"{kind} {name}={status}" for kind, name, status in sorted(rows))


def same(said, wanted):
    return "as by http" if said == wanted else f"{json.dumps(said)} is not {json.dumps(wanted)}"


def facts_of(bed):
    """Of a proxy with a resource in each state."""
    bed.begin()
    # One that is refused, and one whose endpoints do not come.
    context = {"@type": f"{T}.extensions.transport_sockets.tls.v3.UpstreamTlsContext", "common_tls_context": {
        "tls_certificates": [{"certificate_chain": {"inline_string": "none"}, "private_key": {"inline_string": KEY}}]}}
    bad = bed.cluster("c3", transport_socket={"name": "tls", "typed_config": context})
    bed.plane.set("cds", "2", [bed.cluster(), bed.cluster("c2"), bad])
    bed.plane.push("cds")
    assert bed.nacked("cds"), "the wrong cluster is not refused"
    facts = {}
    with grpc.insecure_channel(address(bed)) as channel:
        stub = csds_pb2_grpc.ClientStatusDiscoveryServiceStub(channel)
        whole, brief = csds_pb2.ClientStatusRequest(), csds_pb2.ClientStatusRequest(exclude_resource_contents=True)
        whole.node.id = "someone"
        until = time.monotonic() + SOON_S
        while True:
            fetched = shown(stub.FetchClientStatus(whole, timeout=LIMIT_S))
            if statuses(fetched) == WANTED["statuses"] or time.monotonic() > until:
                break
            time.sleep(0.05)
        facts["statuses"] = statuses(fetched)
        by_http = parsed(bed.admin("/client_status"))
        facts["unary"] = same(fetched, by_http)
        shortly = parsed(bed.admin("/client_status?exclude_resource_contents"))
        heard = [shown(one) for one in stub.StreamClientStatus(iter([whole, brief]), timeout=LIMIT_S)]
        facts["stream"] = same(heard, [by_http, shortly])
        facts["contents are left out"] = '"xds_config":' in json.dumps(by_http) and '"xds_config":' not in json.dumps(shortly)
        text = json.dumps(fetched)
        facts["keys"] = "not told" if KEY not in text and "[redacted]" in text else text
        facts["node"] = fetched["config"][0]["node"]["id"]
        matched = csds_pb2.ClientStatusRequest(node_matchers=[node_pb2.NodeMatcher()])
        facts["node_matchers"] = refused(lambda: stub.FetchClientStatus(matched, timeout=LIMIT_S))
        service = "/envoy.service.status.v3.ClientStatusDiscoveryService/"
        other, fetch = (channel.unary_unary(service + name) for name in ("Other", "FetchClientStatus"))
        facts["another method"] = refused(lambda: other(b"", timeout=LIMIT_S))
        facts["no message"] = refused(lambda: fetch(b"\x18", timeout=LIMIT_S))
        # A field that nobody knows, of 128 KiB.
        facts["too large"] = refused(lambda: fetch(b"\x22\xff\xff\x07" + bytes(0x1FFFF), timeout=LIMIT_S))
        # What becomes no smaller is not compressed.
        whole.node.id = "x" * 10_000
        gzip = grpc.Compression.Gzip
        facts["compressed"] = refused(lambda: stub.FetchClientStatus(whole, timeout=LIMIT_S, compression=gzip))
    return facts


def main():
    folder, ways, _, *command = sys.argv[1:]
    origins = [Origin("one")]
    for way in ways.split(","):
        bed = Bed(command, folder, f"client-status-{way}", way, origins, timeout_s=1)
        try:
            facts = facts_of(bed)
        except Exception:  # noqa: BLE001, it is told, and the next one goes on
            facts = {"broken": traceback.format_exc(limit=3)}
        finally:
            bed.end()
        wrong = {name: facts.get(name) for name, wanted in WANTED.items() if facts.get(name) != wanted}
        if "broken" in facts:
            wrong = facts
        print(json.dumps({"way": way, "wrong": wrong}), flush=True)


main()
