//! One of the compared servers: `relay-server RUNTIME SCENE ORIGIN`. Started by relay-table, by the bench and by the tests.
//!
//! Says its address in one line, and ends when the first connection that it accepted does. Never more than one thread.

use std::process::ExitCode;

use ringway_benches::relay::runtimes::Runtime;
use ringway_benches::relay::servers::{monoio, ringway, tokio};
use ringway_benches::relay::setup::Setup;
use ringway_runtime::IoChoice;

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[allow(clippy::print_stderr, reason = "a command says why it failed")]
            {
                eprintln!("relay-server: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [runtime, scene, origin] = words.as_slice() else {
        return Err("usage: relay-server RUNTIME SCENE ORIGIN".into());
    };
    let setup = Setup::from_words(scene, origin)?;
    ringway_runtime::raise_descriptor_limit()?;
    match runtime.parse()? {
        Runtime::Ring => ringway::serve(IoChoice::Ring, setup),
        Runtime::Poll => ringway::serve(IoChoice::Poll, setup),
        Runtime::Monoio => Ok(monoio::serve(monoio::Flavor::Plain, setup)?),
        Runtime::MonoioTuned => Ok(monoio::serve(monoio::Flavor::Tuned, setup)?),
        Runtime::MonoioEpoll => Ok(monoio::serve(monoio::Flavor::Epoll, setup)?),
        Runtime::Tokio => Ok(tokio::serve(setup)?),
        Runtime::Glommio => Err("glommio's server is a package of its own: benches/glommio".into()),
    }
}
