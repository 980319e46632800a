//! The relay server on glommio: `relay-server-glommio glommio SCENE ORIGIN`, in the shape of those in `benches/src/relay/servers`.
//!
//! One executor on this thread, with its defaults; plain (unbuffered) streams; one buffer a connection, used again.

use std::io;
use std::process::ExitCode;

use futures_lite::future::try_zip;
use futures_lite::io::split;
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use glommio::LocalExecutorBuilder;
use glommio::net::{TcpListener, TcpStream};

use setup::{ANSWER, ANY_PORT, BUFFER_SIZE, Scene, Setup, announce, head_end};

#[path = "../../src/relay/setup.rs"]
#[allow(dead_code, reason = "the runner's half of the file")]
mod setup;

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay-server-glommio: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [_, scene, origin] = words.as_slice() else {
        return Err("usage: relay-server-glommio glommio SCENE ORIGIN".into());
    };
    let setup = Setup::from_words(scene, origin)?;
    // The runner has pinned this process already.
    let executor = LocalExecutorBuilder::default().make()?;
    executor.run(async move {
        let listener = TcpListener::bind(ANY_PORT)?;
        announce(listener.local_addr()?);
        let mut runner = listener.accept().await?;
        glommio::spawn_local(accept(listener, setup)).detach();
        while runner.read(&mut [0; 16]).await? > 0 {}
        Ok(())
    })
}

async fn accept(listener: TcpListener, setup: Setup) {
    while let Ok(stream) = listener.accept().await {
        match setup.scene {
            Scene::Echo => drop(glommio::spawn_local(echo(stream)).detach()),
            Scene::Forward => drop(glommio::spawn_local(forward(stream, setup)).detach()),
            Scene::Http1 => drop(glommio::spawn_local(http1(stream)).detach()),
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..n]).await?;
    }
}

async fn forward(client: TcpStream, setup: Setup) -> io::Result<()> {
    client.set_nodelay(true)?;
    let origin = TcpStream::connect(setup.origin).await?;
    origin.set_nodelay(true)?;
    let (client_reads, client_writes) = split(client);
    let (origin_reads, origin_writes) = split(origin);
    try_zip(pump(client_reads, origin_writes), pump(origin_reads, client_writes)).await?;
    Ok(())
}

/// Writes to `writer` what `reader` brings, until its end.
async fn pump(mut reader: impl AsyncRead + Unpin, mut writer: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        let n = reader.read(&mut buffer).await?;
        if n == 0 {
            return writer.close().await;
        }
        writer.write_all(&buffer[..n]).await?;
    }
}

async fn http1(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER_SIZE];
    let mut filled = 0;
    loop {
        let n = stream.read(&mut buffer[filled..]).await?;
        if n == 0 {
            return Ok(()); // The end, or a head that is larger than the buffer.
        }
        filled += n;
        while let Some(end) = head_end(&buffer[..filled]) {
            stream.write_all(&ANSWER).await?;
            buffer.copy_within(end..filled, 0);
            filled -= end;
        }
    }
}
