"""A management server that flips: knows sixteen versions as JSON, and makes each further one of the bytes of one of them.

A line of JSON each on standard input, an "ok REFUSALS" for each on standard output, after the port of the first line:
  {"template": 3, "world": {"cds": [...], "eds": [...], "lds": [...], "rds": [...]}}
  {"flip": "00042", "template": 10, "replace": [["90010", "00042"], ...], "common": true, "kept": 1}
`common`: all types have this version; else each type has one of its own. `kept`: how many versions of clusters, endpoints and routes are there.
"""
import json
import sys

from google.protobuf import any_pb2

from control_plane import TYPES, ControlPlane, name_of, pack

# What is referred to comes before what refers to it.
ORDER = ("cds", "eds", "rds", "lds")


class Flipper:
    def __init__(self):
        self.refused = 0
        self.templates = {}
        self.last = []
        self.plane = ControlPlane("127.0.0.1:0", self.tell)
        self.plane.start()

    def tell(self, event):
        if event["event"] == "request" and event["error"]:
            self.refused += 1
            print(event["error"], file=sys.stderr, flush=True)
        # Nobody asks for what was long ago.
        if len(self.plane.events) > 1000:
            del self.plane.events[:500]

    def template(self, key, world):
        self.templates[key] = {kind: [(name_of(r), pack(r)) for r in resources] for kind, resources in world.items()}

    def flip(self, version, template, replace, common, kept):
        pairs = [(old.encode(), new.encode()) for old, new in replace]
        world = {}
        for kind, resources in self.templates[template].items():
            world[kind] = {}
            for name, body in resources:
                value = body.value
                for old, new in pairs:
                    value = value.replace(old, new)
                    name = name.replace(old.decode(), new.decode())
                world[kind][name] = (version, any_pb2.Any(type_url=body.type_url, value=value))
        self.last = [*self.last, world][-kept:]
        with self.plane.changed:
            for kind in ORDER:
                merged = {}
                for world in self.last if kind != "lds" else self.last[-1:]:
                    merged.update(world[kind])
                self.plane.world[kind] = merged
                self.plane.versions[kind] = version if common else f"{kind}-{version}"
            self.plane.push(*ORDER)


def main():
    flipper = Flipper()
    print(flipper.plane.port, flush=True)
    for line in sys.stdin:
        said = json.loads(line)
        if "world" in said:
            flipper.template(said["template"], said["world"])
        else:
            flipper.flip(said["flip"], said["template"], said["replace"], said["common"], said["kept"])
        print(f"ok {flipper.refused}", flush=True)


assert set(ORDER) == set(TYPES)
main()
