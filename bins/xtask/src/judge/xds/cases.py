"""The cases: what a management server says, right and wrong, and what comes of it. Each is a function that takes a bed and returns facts.

python cases.py FOLDER WAY[,WAY...] CASE[,CASE...]|all -- COMMAND...

Says a JSON object for each case and way: the requests of each type since the case's own begin, one line each, and the facts.
"""
import json
import sys
import time
import traceback

from google.protobuf import any_pb2

from bed import SOON_S, WAYS, Bed, Origin
from control_plane import KINDS, URLS

CASES = {}
# A case that Envoy answers after 15 s only.
STALL_S = 20
MIB = 1 << 20


def case(*ways, **options):
    """A case of these ways; of all, if none is named."""
    def add(run):
        CASES[run.__name__] = (run, ways or WAYS, options)
        return run
    return add


@case()
def start(bed):
    """From nothing to serving: what is asked for, and in which words."""
    bed.world()
    bed.start()
    return {"serves": bed.serves("200 one", limit_s=20)}


@case("sotw-ads", "delta-ads", unix=True)
def start_by_unix_socket(bed):
    return start(bed)


@case()
def endpoints_move(bed):
    bed.begin()
    bed.plane.set("eds", "2", [bed.assignment(origin=1)])
    bed.plane.push("eds")
    return {"acked": bed.acked("eds"), "serves": bed.serves("200 two")}


@case()
def a_route_and_a_cluster_come(bed):
    """First what is referred to, as the specification wants it."""
    bed.begin()
    bed.plane.set("eds", "2", [bed.assignment(), bed.assignment("c2", 1)])
    bed.plane.set("cds", "2", [bed.cluster(), bed.cluster("c2")])
    bed.plane.push("cds")
    acked = bed.acked("cds")
    bed.plane.set("rds", "2", [bed.routes(to=[("/two", "c2"), ("/", "c1")])])
    bed.plane.push("rds")
    return {"acked": acked and bed.acked("rds"), "two": bed.serves("200 two", "/two"), "one": bed.get("/")}


@case()
def a_listener_comes_with_other_routes(bed):
    bed.begin()
    bed.plane.set("rds", "2", [bed.routes(), bed.routes("r2")])
    bed.plane.set("lds", "2", [bed.listener(), bed.listener("l2", "r2", port=bed.port2)])
    bed.plane.push("lds")
    acked = bed.acked("lds") and bed.heard("rds", lambda r: "r2" in (r.get("names") or r.get("subscribe")))
    until = time.monotonic() + SOON_S
    while (answer := bed.get(port=bed.port2)) != "200 one" and time.monotonic() < until:
        time.sleep(0.01)
    return {"acked": acked, "second": answer}


@case()
def only_a_timeout_of_a_cluster_changes(bed):
    """The same cluster, but for `connect_timeout`: its endpoints are known. The answer is due at once."""
    bed.begin()
    bed.plane.set("cds", "2", [bed.cluster(connect_timeout="6s")])
    begun = time.monotonic()
    bed.plane.push("cds")
    acked = bed.acked("cds", limit_s=STALL_S)
    return {"acked": acked, "at once": time.monotonic() - begun < 5, "serves": bed.get()}


@case()
def wrong_routes_are_refused(bed):
    """Two hosts for all domains: refused with the last nonce and the old version; the next right one is taken."""
    bed.begin()
    bed.plane.set("rds", "2", [bed.routes(hosts=2)])
    bed.plane.push("rds")
    nacked = bed.nacked("rds")
    stays = bed.get()
    bed.plane.set("rds", "3", [bed.routes(to=[("/only", "c1")])])
    bed.plane.push("rds")
    return {"nacked": nacked, "stays": stays, "then": bed.serves("200 one", "/only"), "others": bed.serves("404")}


@case()
def one_wrong_cluster_among_right_ones(bed):
    """A negative timeout beside a new right cluster."""
    bed.begin()
    bed.plane.set("eds", "2", [bed.assignment(), bed.assignment("c3", 1)])
    bed.plane.set("cds", "2", [bed.cluster(), bed.cluster("c2", connect_timeout="-1s"), bed.cluster("c3")])
    bed.plane.push("cds")
    nacked = bed.nacked("cds")
    bed.plane.set("rds", "2", [bed.routes(to=[("/three", "c3"), ("/", "c1")])])
    bed.plane.push("rds")
    bed.acked("rds")
    return {"nacked": nacked, "stays": bed.get(), "neighbour": bed.serves("200 two", "/three", 2)}


@case()
def a_name_twice(bed):
    """Two resources of a name in one response."""
    bed.begin()
    bed.plane.send("cds", version="2", resources=[bed.cluster(), bed.cluster(connect_timeout="7s")])
    return {"nacked": bed.nacked("cds"), "stays": bed.get()}


@case()
def a_resource_of_another_type(bed):
    """A route configuration where clusters are expected."""
    bed.begin()
    any_of = any_pb2.Any(type_url=URLS["rds"], value=b"\x0a\x02r1")
    bed.plane.send("cds", version="2", resources=[any_of], name="c1")
    return {"nacked": bed.nacked("cds"), "stays": bed.get()}


@case("sotw-ads", "delta-ads")
def a_type_nobody_asked_for(bed):
    """A response with a type of its own on the stream for all."""
    bed.begin()
    url = "type.googleapis.com/envoy.service.runtime.v3.Runtime"
    bed.plane.send("cds", version="2", type_url=url, resources=[], nonce="odd")
    bed.plane.set("eds", "2", [bed.assignment(origin=1)])
    bed.plane.push("eds")
    return {"serves": bed.serves("200 two")}


@case()
def a_resource_that_is_no_message(bed):
    """Bytes that are no protobuf within a resource."""
    bed.begin()
    bed.plane.send("rds", version="2", resources=[any_pb2.Any(type_url=URLS["rds"], value=b"\xff\xff\xff")], name="r1")
    return {"nacked": bed.nacked("rds"), "stays": bed.get()}


@case()
def a_response_that_is_no_message(bed):
    """Bytes that are no protobuf on the stream: it ends, another begins, and says what is held."""
    bed.begin()
    bed.plane.bytes("cds", b"\xff\xff\xff\xff")
    again = bed.heard("cds", lambda request: request["first"])
    return {"again": again, "stays": bed.get()}


@case()
def two_responses_in_a_row(bed):
    """The second comes before the first is acknowledged: each has its answer, with its own nonce."""
    bed.begin()
    with bed.plane.changed:
        bed.plane.set("rds", "2", [bed.routes(to=[("/two", "c1")])])
        bed.plane.send("rds")
        bed.plane.set("rds", "3", [bed.routes(to=[("/three", "c1")])])
        bed.plane.send("rds")
    sent = [event["nonce"] for event in bed.plane.events[bed.mark:] if event["event"] == "sent"]
    all_heard = bed.plane.wait(lambda requests: {r["nonce"] for r in requests} >= set(sent), SOON_S, bed.mark)
    return {"each": all_heard, "serves": bed.serves("200 one", "/three"), "old": bed.get("/two")}


@case()
def endpoints_nobody_asked_for(bed):
    """Unasked: for a known cluster (taken), and for one that nobody has (ignored, and acknowledged)."""
    bed.begin()
    bed.plane.send("eds", version="2", resources=[bed.assignment(origin=1)])
    acked, moved = bed.acked("eds"), bed.serves("200 two")
    bed.plane.send("eds", version="3", resources=[bed.assignment(origin=0), bed.assignment("nobody", 1)])
    return {"acked": acked and bed.acked("eds", 2), "moved": moved, "moved back": bed.serves("200 one")}


@case()
def a_cluster_goes(bed):
    """By absence from the world, or by name; its endpoints are not asked for any more."""
    bed.begin()
    bed.plane.set("eds", "2", [bed.assignment(), bed.assignment("c2", 1)])
    bed.plane.set("cds", "2", [bed.cluster(), bed.cluster("c2")])
    bed.plane.push("cds")
    bed.acked("cds")
    bed.acked("eds")
    bed.rest()
    bed.plane.set("cds", "3", [bed.cluster()])
    bed.plane.push("cds")
    acked = bed.acked("cds")
    bed.heard("eds", lambda request: "c2" not in request.get("names", "c2") or request.get("unsubscribe"), 2)
    return {"acked": acked, "serves": bed.get(), "there": "c2::" in bed.admin("/clusters")}


@case()
def a_listener_goes(bed):
    """All of them, so that nobody is served."""
    bed.begin()
    bed.plane.set("lds", "2", [])
    bed.plane.push("lds")
    return {"acked": bed.acked("lds"), "serves": bed.serves("refused")}


@case("delta-ads", "delta")
def names_removed_that_nobody_has(bed):
    bed.begin()
    bed.plane.send("cds", resources=[], removed=["nobody"])
    return {"acked": bed.acked("cds"), "serves": bed.get()}


@case("delta-ads", "delta")
def endpoints_removed_by_name(bed):
    """`removed_resources` of endpoints: what becomes of a cluster that lost them."""
    bed.begin()
    bed.plane.set("eds", "2", [])
    bed.plane.push("eds")
    acked = bed.acked("eds")
    return {"acked": acked, "serves": bed.serves("503", limit_s=1)}


@case()
def a_killed_stream_begins_again(bed):
    """What is held is said: versions, names, and no nonce. Nothing that is current is sent again."""
    bed.begin()
    bed.plane.kill()
    again = all(bed.heard(kind, lambda request: request["first"]) for kind in ("cds", "eds", "lds", "rds"))
    return {"again": again, "stays": bed.get()}


@case()
def killed_before_the_acknowledgement(bed):
    """Clusters are sent and the stream ends in the same moment; what is held then is said."""
    bed.begin()
    bed.plane.silent.add("eds")
    bed.plane.set("cds", "2", [bed.cluster(), bed.cluster("c2")])
    bed.plane.set("eds", "2", [bed.assignment(), bed.assignment("c2", 1)])
    bed.plane.push("cds")
    bed.plane.kill()
    bed.stream = bed.plane.numbers
    bed.plane.silent.clear()
    bed.heard("eds", lambda request: request["first"] and "c2" in (request.get("names") or request["subscribe"]))
    bed.plane.set("rds", "2", [bed.routes(to=[("/two", "c2"), ("/", "c1")])])
    bed.plane.push("rds")
    return {"two": bed.serves("200 two", "/two"), "one": bed.get()}


@case()
def a_server_that_was_away(bed):
    """Gone for two seconds, back with other endpoints: served meanwhile, taken up afterwards; few attempts."""
    bed.begin()
    bed.plane.stop()
    time.sleep(2)
    stays = bed.get()
    bed.plane.set("eds", "2", [bed.assignment(origin=1)])
    bed.plane.start()
    then = bed.serves("200 two", limit_s=40)
    all(bed.heard(kind, lambda request: request["first"], 40) for kind in ("cds", "eds", "lds", "rds"))
    return {"stays": stays, "then": then}


@case("sotw-ads", "delta-ads")
def a_server_that_comes_late(bed):
    """Not there at the start."""
    bed.world()
    bed.plane.stop()
    bed.start()
    time.sleep(1)
    before = bed.get()
    bed.plane.start()
    return {"before": before, "then": bed.serves("200 one", limit_s=40)}


@case()
def endpoints_that_do_not_come(bed):
    """A cluster whose endpoints are withheld: the clusters before it serve; is its response acknowledged at once?"""
    bed.begin()
    bed.plane.silent.add("eds")
    bed.plane.set("cds", "2", [bed.cluster(), bed.cluster("c2")])
    begun = time.monotonic()
    bed.plane.push("cds")
    acked = bed.acked("cds", limit_s=STALL_S)
    at_once = time.monotonic() - begun < 5
    bed.plane.set("eds", "2", [bed.assignment(), bed.assignment("c2", 1)])
    bed.plane.set("rds", "2", [bed.routes(to=[("/two", "c2"), ("/", "c1")])])
    bed.plane.silent.clear()
    bed.plane.push("rds", "eds")
    return {"acked": acked, "at once": at_once, "one": bed.get(), "two": bed.serves("200 two", "/two")}


@case()
def a_time_to_live(bed):
    """A listener for a second: a heartbeat prolongs that, without one it goes, and comes again."""
    bed.begin()
    ttl = {"l1": 1}
    bed.plane.send("lds", ttls=ttl)
    for _ in range(4):
        time.sleep(0.5)
        bed.plane.send("lds", ttls=ttl, heartbeat=("l1",))
    prolonged = bed.get()
    gone = bed.serves("refused", limit_s=5)
    bed.plane.send("lds", ttls=ttl)
    again = bed.serves("200 one")
    bed.plane.send("lds", resources=[bed.listener()], version="2")
    time.sleep(1.5)
    return {"prolonged": prolonged, "gone": gone, "again": again, "for ever": bed.get()}


@case("sotw-ads", "delta-ads")
def a_response_of_64_mib(bed):
    """More than anybody needs: memory stays bounded, and what is in force stays."""
    bed.begin()
    before = bed.resident_mib()
    route = {"match": {"prefix": "/" + "x" * MIB}, "route": {"cluster": "c1"}}
    routes = bed.routes()
    routes["virtual_hosts"][0]["routes"] = [route] * 64
    bed.plane.send("rds", version="2", resources=[routes])
    bed.heard("rds", lambda request: True, 30)
    stays = bed.get()
    grown = bed.resident_mib() - before
    bed.plane.send("rds", version="3", resources=[bed.routes()])
    bed.plane.set("eds", "2", [bed.assignment(origin=1)])
    bed.plane.push("eds")
    return {"stays": stays, "then": bed.serves("200 two", limit_s=20), "grew by less than 512 MiB": grown < 512}


@case("sotw-ads", "delta-ads")
def the_same_wrong_response_again_and_again(bed):
    """A server that does not learn: each is refused, and nothing grows."""
    bed.begin()
    bed.plane.set("rds", "2", [bed.routes(hosts=2)])
    for _ in range(100):
        bed.plane.send("rds", resources=[bed.routes(hosts=2)], version="2")
    count = lambda requests: sum(1 for r in requests if r["error"] is not None)  # noqa: E731
    all_refused = bed.plane.wait(lambda requests: count(requests) >= 100, SOON_S, bed.mark)
    return {"all refused": all_refused, "stays": bed.get()}


def main():
    folder, ways, wanted, _, *command = sys.argv[1:]
    origins = [Origin("one"), Origin("two")]
    for name, (run, own, options) in CASES.items():
        if wanted != "all" and name not in wanted.split(","):
            continue
        for way in own:
            if way not in ways.split(","):
                continue
            said = {"case": name, "way": way}
            bed = Bed(command, folder, f"{name}-{way}", way, origins, **options)
            try:
                said["facts"] = run(bed)
                said["trace"] = bed.trace()
                errors = [r["error"] for r in bed.plane.requests(bed.mark) if r["error"]]
                said["errors"] = errors[:2]
                said["alive"] = bed.process.poll() is None
            except Exception:  # noqa: BLE001, a case that breaks off is told, and the next one goes on
                said["broken"] = traceback.format_exc(limit=3)
            finally:
                bed.end()
            print(json.dumps(said), flush=True)


assert KINDS, "types are known"
main()
