"""A proxy before the scripted management server: its bootstrap, its resources, what it answers, and its requests as short lines."""
import http.client
import http.server
import itertools
import json
import os
import socket
import subprocess
import threading
import time

from control_plane import ControlPlane

T = "type.googleapis.com/envoy"
START_S = 20
# A request of the proxy's comes within milliseconds; on a busy machine it may wait for its turn.
SOON_S = 10
# What has not come by then does not come. Envoy withholds one answer for 15 s.
QUIET_S = 0.4

WAYS = ("sotw-ads", "delta-ads", "sotw", "delta")


class Origin:
    """Answers each request with its name."""

    def __init__(self, name):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.send_response(200)
                self.send_header("content-length", str(len(name)))
                self.end_headers()
                self.wfile.write(name.encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def free():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


class Bed:
    """One proxy for one case."""

    def __init__(self, command, folder, name, way, origins, unix=False, timeout_s=None):
        self.way, self.origins, self.name, self.folder = way, origins, name, folder
        self.is_delta = way.startswith("delta")
        self.is_ads = way.endswith("-ads")
        self.socket = os.path.join(folder, "s") if unix else None
        if unix and os.path.exists(self.socket):
            os.unlink(self.socket)
        self.timeout_s = timeout_s
        self.plane = ControlPlane(f"unix:{self.socket}" if unix else "127.0.0.1:0")
        self.plane.start()
        self.port, self.port2 = free(), free()
        self.file, self.said = (os.path.join(folder, f"{name}.{end}") for end in ("json", "admin"))
        with open(self.file, "w", encoding="utf-8") as out:
            json.dump(self.bootstrap(), out)
        if os.path.exists(self.said):
            os.unlink(self.said)
        self.log = open(os.path.join(folder, f"{name}.log"), "wb")
        self.command = [*command, "-c", self.file, "--admin-address-path", self.said, "--concurrency", "1"]
        # Written down is what came after the mark, on streams after this one.
        self.process, self.mark, self.stream = None, 0, 0

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        self.plane.stop()
        self.log.close()

    # Configuration

    def source(self, kind=""):
        if self.is_ads:
            source = {"ads": {}}
        else:
            source = {"api_config_source": self.api("DELTA_GRPC" if self.is_delta else "GRPC")}
        if self.timeout_s is not None:
            source["initial_fetch_timeout"] = f"{self.timeout_s}s"
        return {**source, "resource_api_version": "V3"}

    @staticmethod
    def api(api_type):
        return {"api_type": api_type, "transport_api_version": "V3", "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]}

    def bootstrap(self):
        if self.socket:
            address = {"pipe": {"path": self.socket}}
        else:
            address = {"socket_address": {"address": "127.0.0.1", "port_value": self.plane.port}}
        options = {"@type": f"{T}.extensions.upstreams.http.v3.HttpProtocolOptions",
                   "explicit_http_config": {"http2_protocol_options": {}}}
        cluster = {
            "name": "xds", "type": "STATIC", "connect_timeout": "5s",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
            "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]},
        }
        dynamic = {"cds_config": self.source(), "lds_config": self.source()}
        if self.is_ads:
            dynamic["ads_config"] = self.api("DELTA_GRPC" if self.is_delta else "GRPC")
        return {
            "node": {"id": "judge", "cluster": "judge"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "dynamic_resources": dynamic, "static_resources": {"clusters": [cluster]},
        }

    def cluster(self, name="c1", **fields):
        return {"@type": f"{T}.config.cluster.v3.Cluster", "name": name, "type": "EDS", "connect_timeout": "5s",
                "eds_cluster_config": {"eds_config": self.source()}, **fields}

    def assignment(self, name="c1", origin=0, **fields):
        address = {"socket_address": {"address": "127.0.0.1", "port_value": self.origins[origin].port}}
        return {"@type": f"{T}.config.endpoint.v3.ClusterLoadAssignment", "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}], **fields}

    def listener(self, name="l1", routes="r1", port=None, **fields):
        manager = {
            "@type": f"{T}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": name,
            "rds": {"route_config_name": routes, "config_source": self.source()},
            "http_filters": [{"name": "envoy.filters.http.router",
                              "typed_config": {"@type": f"{T}.extensions.filters.http.router.v3.Router"}}], **fields,
        }
        return {"@type": f"{T}.config.listener.v3.Listener", "name": name,
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": port or self.port}},
                "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}

    @staticmethod
    def routes(name="r1", to=(("/", "c1"),), hosts=1):
        routes = [{"match": {"prefix": prefix}, "route": {"cluster": cluster}} for prefix, cluster in to]
        hosts = [{"name": f"h{at}", "domains": ["*"], "routes": routes} for at in range(hosts)]
        return {"@type": f"{T}.config.route.v3.RouteConfiguration", "name": name, "virtual_hosts": hosts}

    def world(self, version="1", origin=0):
        """The whole that most cases begin with."""
        self.plane.set("cds", version, [self.cluster()])
        self.plane.set("eds", version, [self.assignment(origin=origin)])
        self.plane.set("lds", version, [self.listener()])
        self.plane.set("rds", version, [self.routes()])

    # What the proxy does

    def get(self, path="/", port=None):
        """Status and body through the listener; what went wrong, if there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=SOON_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read().decode()
            return f"{answer.status} {body}" if answer.status == 200 else str(answer.status)
        except ConnectionRefusedError:
            return "refused"
        except OSError as error:
            return type(error).__name__
        finally:
            connection.close()

    def serves(self, wanted, path="/", limit_s=SOON_S):
        """Waits until a request is answered so; what it was answered last."""
        until = time.monotonic() + limit_s
        while (answer := self.get(path)) != wanted and time.monotonic() < until:
            time.sleep(0.01)
        return answer

    def admin(self, path):
        with open(self.said, encoding="utf-8") as said:
            host, _, port = said.read().strip().rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=SOON_S)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def stat(self, name):
        for line in self.admin(f"/stats?filter=^{name}$").splitlines():
            known, _, value = line.partition(": ")
            if known == name:
                return int(value)
        return 0

    def resident_mib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024

    def begin(self):
        """Starts with the whole world, and serves it."""
        self.world()
        self.start()
        answer = self.serves("200 one", limit_s=START_S)
        assert answer == "200 one", f"the beginning is not served: {answer}"
        self.rest()

    def rest(self):
        """Waits until all is said, and begins to write down."""
        self.plane.quiet(QUIET_S, SOON_S)
        self.mark = len(self.plane.events)

    def heard(self, kind, is_it, limit_s=SOON_S):
        """Waits for a request of this type since the mark."""
        return self.plane.wait(lambda requests: any(r["type"] == kind and is_it(r) for r in requests), limit_s, self.mark)

    def acked(self, kind, count=1, limit_s=SOON_S):
        """Waits for so many acknowledgements of a type since the mark."""
        def are_there(requests):
            return sum(1 for r in requests if r["type"] == kind and r["nonce"] and not r["error"] and not r["stale"]) >= count
        return self.plane.wait(are_there, limit_s, self.mark)

    def nacked(self, kind, limit_s=SOON_S):
        return self.heard(kind, lambda request: request["error"] is not None, limit_s)

    def trace(self):
        """Of each type its requests since the mark, one line each."""
        self.plane.quiet(QUIET_S, SOON_S)
        events = self.plane.events
        lines, last, begun, says_who = {}, {}, set(), set()
        for at, event in enumerate(events):
            if event["event"] != "request":
                continue
            # The first request of a stream has to say who asks.
            if event["stream"] not in begun and at >= self.mark:
                says_who.add("with the node" if event["node"] else "without the node")
            begun.add(event["stream"])
            kind, key = event["type"], (event["stream"], event["type"])
            before = last.get(key)
            last[key] = event
            line = delta_line(event) if self.is_delta else world_line(event, before)
            if line and at >= self.mark and event["stream"] > self.stream:
                lines.setdefault(kind, {}).setdefault(event["stream"], []).append(line)
        # Streams of one type, where there are some, come in any order.
        said = {}
        for kind, streams in lines.items():
            each = list(streams.values()) if self.is_ads else sorted(streams.values())
            said[kind] = [f"{line} x{count}" if count > 1 else line for of in each for line, count in runs(of)]
        if says_who:
            said["streams"] = sorted(says_who)
        return said


def runs(lines):
    """Each line with how often it comes in a row."""
    return [(line, len(list(same))) for line, same in itertools.groupby(lines)]


def names(of):
    return "[" + " ".join(of) + "]"


def world_line(event, before):
    """A request of the state of the world; nothing for one that says again what the last one said."""
    said = f"v{event['version'] or '-'} {names(event['names'])}"
    if event["first"]:
        return f"first {said}" + (f" nonce {event['nonce']}" if event["nonce"] else "")
    if event["error"] is not None:
        return f"nack {said}"
    if event["stale"]:
        return f"stale {said}"
    if before and before["nonce"] == event["nonce"]:
        return None if before["names"] == event["names"] else f"names {said}"
    return f"ack {said}"


def delta_line(event):
    change = "".join(f" {word} {names(event[key])}" for word, key in (("sub", "subscribe"), ("unsub", "unsubscribe")) if event[key])
    if event["first"]:
        held = " ".join(f"{name}:{version}" for name, version in sorted(event["initial"].items()))
        return "first" + change + (f" init[{held}]" if held else "")
    if event["error"] is not None:
        return "nack" + change
    if event["stale"]:
        return "stale" + change
    return ("ack" + change) if event["nonce"] else change.strip()
