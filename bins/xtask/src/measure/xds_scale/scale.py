"""A management server with many clusters, by delta ADS alone: says everything once, and then one endpoint as often as it is told to.

  scale.py CLUSTERS ENDPOINTS PORT        clusters, endpoints of each, the port of the first origin
A line "move PORT" on standard input moves the endpoint of the cluster `probed`; on standard output come its port, then for each
"said NANOSECONDS" (of the system's clock, when the response was given to gRPC), and "acked TYPE COUNT NANOSECONDS" for each answer.
"""
import queue
import sys
import threading
import time
from concurrent import futures

import grpc
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401: known by its name in the listener
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa: F401
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from google.protobuf import json_format

HOST = "type.googleapis.com/"
ADS = {"ads": {}, "resource_api_version": "V3"}


def cluster(name):
    message = {"name": name, "type": "EDS", "connect_timeout": "1s", "eds_cluster_config": {"eds_config": ADS}}
    return json_format.ParseDict(message, cluster_pb2.Cluster())


def at(address, port):
    return {"endpoint": {"address": {"socket_address": {"address": address, "port_value": port}}}}


def assignment(name, endpoints):
    message = {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}
    return json_format.ParseDict(message, endpoint_pb2.ClusterLoadAssignment())


def listener():
    manager = {
        "@type": HOST + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "main",
        "rds": {"route_config_name": "r", "config_source": ADS},
        "http_filters": [
            {"name": "router", "typed_config": {"@type": HOST + "envoy.extensions.filters.http.router.v3.Router"}}
        ],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    chain = {"filters": [{"name": "hcm", "typed_config": manager}]}
    message = {"name": "main", "address": address, "filter_chains": [chain]}
    return json_format.ParseDict(message, listener_pb2.Listener())


def routes(names):
    rows = [{"match": {"path": f"/{name}"}, "route": {"cluster": name}} for name in names]
    message = {"name": "r", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": rows}]}
    return json_format.ParseDict(message, route_pb2.RouteConfiguration())


def resource(name, version, message):
    wrapper = discovery_pb2.Resource(name=name, version=str(version))
    wrapper.resource.Pack(message)
    return wrapper


def say(*words):
    print(*words, flush=True)


class Server(ads_pb2_grpc.AggregatedDiscoveryServiceServicer):
    def __init__(self, clusters, endpoints, port):
        names = [f"c{number}" for number in range(clusters)]
        many = [
            assignment(name, [at(f"127.0.{number >> 8 & 255}.{number & 255}", 1000 + k) for k in range(endpoints)])
            for number, name in enumerate(names)
        ]
        many.append(assignment("probed", [at("127.0.0.1", port)]))
        names.append("probed")
        # A route to every hundredth is enough: what counts is how many clusters there are.
        led = names[:: max(1, len(names) // 100)] + ["probed"]
        of = {
            "envoy.config.cluster.v3.Cluster": zip(names, map(cluster, names)),
            "envoy.config.endpoint.v3.ClusterLoadAssignment": zip(names, many),
            "envoy.config.listener.v3.Listener": [("main", listener())],
            "envoy.config.route.v3.RouteConfiguration": [("r", routes(dict.fromkeys(led)))],
        }
        self.all = {HOST + kind: {n: resource(n, 1, m) for n, m in pairs} for kind, pairs in of.items()}
        self.todo = queue.Queue()

    def DeltaAggregatedResources(self, requests, context):
        todo = self.todo = queue.Queue()

        def hear():
            try:
                for request in requests:
                    todo.put(request)
            except grpc.RpcError:
                pass
            todo.put(None)

        threading.Thread(target=hear, daemon=True).start()
        nonce, sent = 0, {}
        while (what := todo.get()) is not None:
            if isinstance(what, int):
                kind, version = HOST + "envoy.config.endpoint.v3.ClusterLoadAssignment", str(nonce)
                rows = [resource("probed", version, assignment("probed", [at("127.0.0.1", what)]))]
            else:
                kind, version = what.type_url, "1"
                if what.HasField("error_detail"):
                    say("refused", what.error_detail.message.replace("\n", " "))
                if what.response_nonce:
                    say("acked", kind.rsplit(".", 1)[-1], sent.pop(what.response_nonce, 0), time.time_ns())
                known = self.all.get(kind, {})
                wildcard = kind.endswith((".Cluster", ".Listener"))
                first = not what.response_nonce and not what.resource_names_subscribe
                rows = list(known.values()) if wildcard and first else []
                rows += [known[name] for name in what.resource_names_subscribe if name in known]
            if rows:
                nonce += 1
                sent[str(nonce)] = len(rows)
                response = discovery_pb2.DeltaDiscoveryResponse(
                    system_version_info=version, type_url=kind, nonce=str(nonce), resources=rows
                )
                if isinstance(what, int):
                    say("said", time.time_ns())
                yield response


def main():
    clusters, endpoints, port = map(int, sys.argv[1:4])
    service = Server(clusters, endpoints, port)
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_send_message_length", -1)])
    ads_pb2_grpc.add_AggregatedDiscoveryServiceServicer_to_server(service, server)
    own = server.add_insecure_port("127.0.0.1:0")
    server.start()
    say(own)
    for line in sys.stdin:
        service.todo.put(int(line.split()[1]))


main()
