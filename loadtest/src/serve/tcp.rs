//! An echo of raw bytes, after the delay that is asked for.

use std::future::poll_fn;

use ringway_runtime::Stream;

use super::Server;
use super::behaviour::Fate;

/// What a client that does not read may leave with us.
const UNSENT_MAX: usize = 1 << 20;

pub(super) async fn serve(server: &Server, stream: &Stream) {
    while let Ok(Some(chunk)) = stream.recv().await {
        let chunk = server.core.settled(chunk); // what waits is in no receive chunk
        server.wait().await;
        let fate = server.behaviour.fate(&mut server.chance.borrow_mut());
        if fate != Fate::Answer {
            return; // raw bytes have no other error than an end
        }
        stream.send(chunk);
        if poll_fn(|context| stream.poll_unsent_below(context, UNSENT_MAX)).await.is_err() {
            return;
        }
    }
}
