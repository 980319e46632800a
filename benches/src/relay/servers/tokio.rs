//! The server on tokio's current-thread runtime: one buffer a connection, used again; its own `copy_bidirectional`.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream};

use crate::relay::setup::{ANSWER, ANY_PORT, BUFFER_SIZE, Scene, Setup, announce, head_end};

/// Serves until the runner's connection ends. Errors: those of the runtime's start, and of the listening socket.
pub fn serve(setup: Setup) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async move {
        let listener = TcpListener::bind(ANY_PORT).await?;
        announce(listener.local_addr()?);
        let (mut runner, _) = listener.accept().await?;
        tokio::spawn(accept(listener, setup));
        while runner.read(&mut [0; 16]).await? > 0 {}
        Ok(())
    })
}

async fn accept(listener: TcpListener, setup: Setup) {
    while let Ok((stream, _)) = listener.accept().await {
        match setup.scene {
            Scene::Echo => drop(tokio::spawn(echo(stream))),
            Scene::Forward => drop(tokio::spawn(forward(stream, setup))),
            Scene::Http1 => drop(tokio::spawn(http1(stream))),
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

async fn forward(mut client: TcpStream, setup: Setup) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut origin = TcpStream::connect(setup.origin).await?;
    origin.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut client, &mut origin, BUFFER_SIZE, BUFFER_SIZE).await?;
    Ok(())
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
