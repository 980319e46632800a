//! The rows of the comparison: a scene, a number of connections, a size of message.

use crate::relay::setup::Scene;

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What the server does.
    pub scene: Scene,
    /// Clients at once.
    pub connections: usize,
    /// Bytes of a message; in the `http1` scene the request and its answer are fixed.
    pub message_size: usize,
}

/// All rows, in the order of the tables.
pub const ROWS: [Row; 12] = [
    row(Scene::Echo, 1, 64),
    row(Scene::Echo, 64, 64),
    row(Scene::Echo, 1_000, 64),
    row(Scene::Echo, 1, 1024),
    row(Scene::Echo, 64, 1024),
    row(Scene::Echo, 1_000, 1024),
    row(Scene::Forward, 1, 1024),
    row(Scene::Forward, 64, 1024),
    row(Scene::Forward, 1_000, 1024),
    row(Scene::Http1, 1, 1024),
    row(Scene::Http1, 64, 1024),
    row(Scene::Http1, 1_000, 1024),
];

const fn row(scene: Scene, connections: usize, message_size: usize) -> Row {
    Row { scene, connections, message_size }
}

impl Row {
    /// Its name in the tables and for the filter of the command line, such as `echo 64 B, 1,000 connections`.
    pub fn name(&self) -> String {
        let size = match (self.scene, self.message_size) {
            (Scene::Http1, _) => String::new(),
            (_, 1024) => " 1 KiB".into(),
            (_, bytes) => format!(" {bytes} B"),
        };
        format!("{}{size} x {}", self.scene.name(), self.connections)
    }
}
