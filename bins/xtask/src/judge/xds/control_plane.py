"""A management server under a script: state of the world and delta, one stream for all types or one for each, over TCP or a unix socket.

It answers as go-control-plane does (the world for a changed subscription, nothing for an acknowledgement), unless it is told to be silent
about a type; whatever else it is to say, right or wrong, it is told. It writes down each request that it gets, in order.
"""
import threading
import time
from concurrent import futures
from queue import SimpleQueue

import grpc
from google.protobuf import any_pb2, duration_pb2, json_format

# Importing a module makes its messages known to json_format.
import envoy.config.cluster.v3.cluster_pb2
import envoy.config.endpoint.v3.endpoint_pb2
import envoy.config.listener.v3.listener_pb2
import envoy.config.route.v3.route_pb2
import envoy.extensions.filters.http.router.v3.router_pb2
import envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2
import envoy.extensions.transport_sockets.tls.v3.tls_pb2
import envoy.extensions.upstreams.http.v3.http_protocol_options_pb2  # noqa: F401
from envoy.service.discovery.v3 import discovery_pb2

TYPES = {
    "cds": ("envoy.config.cluster.v3.Cluster", "cluster", "ClusterDiscoveryService", "Clusters"),
    "eds": ("envoy.config.endpoint.v3.ClusterLoadAssignment", "endpoint", "EndpointDiscoveryService", "Endpoints"),
    "lds": ("envoy.config.listener.v3.Listener", "listener", "ListenerDiscoveryService", "Listeners"),
    "rds": ("envoy.config.route.v3.RouteConfiguration", "route", "RouteDiscoveryService", "Routes"),
}
URLS = {kind: f"type.googleapis.com/{names[0]}" for kind, names in TYPES.items()}
KINDS = {url: kind for kind, url in URLS.items()}
WILDCARD = ("cds", "lds")
# Two streams of each type, twice, for a client that has not yet let go of the old ones.
THREADS = 32
MESSAGE_SIZE_MAX = 100 << 20


def pack(resource):
    """A resource as JSON (with @type) as an Any."""
    return resource if isinstance(resource, any_pb2.Any) else json_format.ParseDict(resource, any_pb2.Any())


def name_of(resource):
    return resource.get("name") or resource["cluster_name"]


class Known:
    """What a stream is about, of one type."""

    def __init__(self):
        self.nonce = ""
        self.version = ""
        self.names = set()
        self.wildcard = False
        # Delta: the version of each resource that the client has.
        self.held = {}


class Stream:
    def __init__(self, number, way, delta):
        self.number, self.way, self.delta = number, way, delta
        self.out = SimpleQueue()
        self.known = {}
        self.nonces = 0


class ControlPlane:
    def __init__(self, address, tell=None):
        self.address, self.tell = address, tell
        # Of each type its version, and of each name its version and body.
        self.versions = {kind: "" for kind in TYPES}
        self.world = {kind: {} for kind in TYPES}
        self.silent = set()
        self.streams = []
        self.events = []
        self.numbers = 0
        self.begun = time.monotonic()
        self.changed = threading.Condition(threading.RLock())
        self.server = None
        self.port = None

    # The server

    def start(self):
        """Listens; on the port of the last time, if there was one."""
        options = [("grpc.max_receive_message_length", MESSAGE_SIZE_MAX), ("grpc.max_send_message_length", MESSAGE_SIZE_MAX),
                   ("grpc.so_reuseport", 0), ("grpc.http2.min_ping_interval_without_data_ms", 1000)]
        self.server = grpc.server(futures.ThreadPoolExecutor(THREADS), options=options)
        services = [("envoy.service.discovery.v3.AggregatedDiscoveryService", "AggregatedResources", "ads")]
        services += [(f"envoy.service.{package}.v3.{service}", method, kind)
                     for kind, (_, package, service, method) in TYPES.items()]
        for service, method, way in services:
            self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
                service, {f"Stream{method}": self.handler(way, False), f"Delta{method}": self.handler(way, True)}),))
        address = self.address if self.port is None else f"127.0.0.1:{self.port}"
        port = self.server.add_insecure_port(address)
        assert port, f"cannot listen at {address}"
        if not self.address.startswith("unix:"):
            self.port = port
        self.server.start()

    def stop(self):
        """Ends all streams and listens no more."""
        self.server.stop(0).wait()

    def handler(self, way, delta):
        request = discovery_pb2.DeltaDiscoveryRequest if delta else discovery_pb2.DiscoveryRequest
        return grpc.stream_stream_rpc_method_handler(
            lambda requests, context: self.serve(way, delta, requests, context), request.FromString, None)

    def serve(self, way, delta, requests, context):
        with self.changed:
            self.numbers += 1
            stream = Stream(self.numbers, way, delta)
            self.streams.append(stream)
            self.note({"event": "stream", "stream": stream.number, "way": way, "delta": delta})

        def hear():
            try:
                for request in requests:
                    with self.changed:
                        self.heard(stream, request)
            except Exception:  # noqa: BLE001, the call has ended
                pass
            stream.out.put(None)

        threading.Thread(target=hear, daemon=True).start()
        try:
            while (message := stream.out.get()) is not None:
                if isinstance(message, grpc.StatusCode):
                    context.abort(message, "as told")
                yield message
        finally:
            with self.changed:
                self.streams.remove(stream)
                self.note({"event": "end", "stream": stream.number})

    # What is heard

    def note(self, event):
        event["at"] = round(time.monotonic() - self.begun, 3)
        self.events.append(event)
        self.changed.notify_all()
        if self.tell:
            self.tell(event)

    def heard(self, stream, request):
        kind = KINDS.get(request.type_url, stream.way)
        is_first = kind not in stream.known
        known = stream.known.setdefault(kind, Known())
        event = {
            "event": "request", "stream": stream.number, "type": kind, "nonce": request.response_nonce,
            "error": request.error_detail.message if request.HasField("error_detail") else None,
            "node": request.HasField("node") and bool(request.node.id), "first": is_first,
            "stale": bool(request.response_nonce) and request.response_nonce != known.nonce,
        }
        if stream.delta:
            event.update(subscribe=sorted(request.resource_names_subscribe), unsubscribe=sorted(request.resource_names_unsubscribe),
                         initial=dict(request.initial_resource_versions))
        else:
            event.update(version=request.version_info, names=sorted(request.resource_names))
        self.note(event)
        (self.answer_delta if stream.delta else self.answer_world)(stream, kind, known, request, is_first, event["stale"])

    def answer_world(self, stream, kind, known, request, is_first, is_stale):
        if is_stale:
            # The next one says it again.
            return
        names = set(request.resource_names)
        is_new = is_first or bool(names - known.names)
        known.names = names
        known.wildcard = kind in WILDCARD and (not names or "*" in names)
        is_current = is_first and request.version_info and request.version_info == self.versions[kind]
        if kind in self.silent or not is_new or is_current:
            return
        if request.HasField("error_detail") or not self.versions[kind]:
            return
        # A name that is not there is not answered: others may bring it.
        if known.wildcard or any(name in self.world[kind] for name in names):
            self.send(kind, stream=stream)

    def answer_delta(self, stream, kind, known, request, is_first, is_stale):
        subscribed = set(request.resource_names_subscribe)
        if is_first:
            known.held = dict(request.initial_resource_versions)
            known.wildcard = kind in WILDCARD and not subscribed
        known.wildcard = known.wildcard or "*" in subscribed
        known.names = (known.names | subscribed) - set(request.resource_names_unsubscribe)
        for name in request.resource_names_unsubscribe:
            known.held.pop(name, None)
        if kind in self.silent or not self.versions[kind] or not (is_first or subscribed):
            return
        if not is_first:
            # Whoever subscribes again is answered again.
            for name in subscribed:
                known.held.pop(name, None)
        self.send(kind, stream=stream, absent=subscribed - {"*"})

    # What is said

    def set(self, kind, version, resources):
        """The world of one type, as JSON with @type; names keep their version where the body is the same."""
        with self.changed:
            old, new = self.world[kind], {}
            for resource in resources:
                name, body = name_of(resource), pack(resource)
                same = name in old and old[name][1].value == body.value
                new[name] = old[name] if same else (version, body)
            self.world[kind], self.versions[kind] = new, version

    def push(self, *kinds):
        """Sends what is set to all who asked for these types."""
        with self.changed:
            for kind in kinds:
                for stream in [stream for stream in self.streams if kind in stream.known]:
                    self.send(kind, stream=stream)

    def send(self, kind, stream=None, absent=(), **odd):
        """One response, to one stream or all who asked. `odd` replaces fields; `odd["resources"]` is a list of JSON or Any."""
        with self.changed:
            to = [stream] if stream else [stream for stream in self.streams if kind in stream.known]
            for stream in to:
                known = stream.known[kind]
                stream.nonces += 1
                nonce = odd.get("nonce", f"n{stream.nonces}")
                build = self.delta_response if stream.delta else self.world_response
                response = build(kind, known, absent, odd)
                if response is None:
                    continue
                response.nonce = known.nonce = nonce
                response.type_url = odd.get("type_url", URLS[kind])
                self.note({"event": "sent", "stream": stream.number, "type": kind, "nonce": nonce})
                stream.out.put(response.SerializeToString())

    def wrap(self, name, version, body, ttls):
        resource = discovery_pb2.Resource(name=name, version=version)
        if body is not None:
            resource.resource.CopyFrom(body)
        if name in ttls:
            resource.ttl.CopyFrom(duration_pb2.Duration(nanos=int(ttls[name] * 1e9) % 10**9, seconds=int(ttls[name])))
        return resource

    def world_response(self, kind, known, _absent, odd):
        version = odd.get("version", self.versions[kind])
        response = discovery_pb2.DiscoveryResponse(version_info=version)
        if "resources" in odd:
            bodies = [pack(resource) for resource in odd["resources"]]
        else:
            world = self.world[kind]
            named = world if known.wildcard else [name for name in world if name in known.names]
            ttls, heartbeat = odd.get("ttls", {}), odd.get("heartbeat", ())
            bodies = []
            for name in named:
                body = None if name in heartbeat else world[name][1]
                if name in ttls:
                    wrapped = any_pb2.Any()
                    wrapped.Pack(self.wrap(name, version, body, ttls))
                    body = wrapped
                bodies.append(body)
        response.resources.extend(bodies)
        known.version = version
        return response

    def delta_response(self, kind, known, absent, odd):
        response = discovery_pb2.DeltaDiscoveryResponse(system_version_info=self.versions[kind])
        world, ttls = self.world[kind], odd.get("ttls", {})
        if "resources" in odd:
            version = odd.get("version", "odd")
            for resource in odd["resources"]:
                name = odd["name"] if isinstance(resource, any_pb2.Any) else name_of(resource)
                response.resources.append(self.wrap(name, version, pack(resource), ttls))
            response.removed_resources.extend(odd.get("removed", ()))
            return response
        wanted = {name for name in world if known.wildcard or name in known.names}
        for name in sorted(wanted):
            version, body = world[name]
            if known.held.get(name) == version and name not in ttls:
                continue
            body = None if name in odd.get("heartbeat", ()) else body
            response.resources.append(self.wrap(name, version, body, ttls))
            known.held[name] = version
        gone = [name for name in known.held if name not in world]
        gone += [name for name in absent if name not in world and name not in gone]
        for name in gone:
            known.held.pop(name, None)
        response.removed_resources.extend(sorted(gone))
        # The first answer is due even if there is nothing; not to who has all of it.
        is_answer = absent or not (known.nonce or known.held)
        return response if response.resources or gone or is_answer else None

    def bytes(self, kind, message):
        """A message that is none, to all who asked for a type."""
        with self.changed:
            for stream in [stream for stream in self.streams if kind in stream.known]:
                stream.out.put(message)

    def kill(self):
        """Ends all streams."""
        with self.changed:
            for stream in self.streams:
                stream.out.put(grpc.StatusCode.UNAVAILABLE)

    # Waiting

    def requests(self, since=0):
        with self.changed:
            return [event for event in self.events[since:] if event["event"] == "request"]

    def wait(self, what, limit_s, since=0):
        """Waits until `what` is true of the requests since an event; whether it came to that."""
        until = time.monotonic() + limit_s
        with self.changed:
            while not what(self.requests(since)):
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self.changed.wait(left)
            return True

    def quiet(self, time_s, limit_s):
        """Waits until nothing has happened for a time."""
        until = time.monotonic() + limit_s
        with self.changed:
            while time.monotonic() < until:
                before = len(self.events)
                self.changed.wait_for(lambda: len(self.events) > before, time_s)
                if len(self.events) == before:
                    return
