//! Configuration files to snapshots; the only room that knows protobuf and YAML
