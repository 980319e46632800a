//! The server on monoio, over io_uring (as it comes, or with the ring's newer flags) or over epoll: owned buffers that are
//! lent to the runtime and used again, and `into_split` with a joined copy loop each way, as its own proxy example has it.

use std::io;

use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, OwnedReadHalf, OwnedWriteHalf, Splitable};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

use crate::relay::setup::{ANSWER, ANY_PORT, BUFFER_SIZE, Scene, Setup, announce, head_end};

/// How monoio is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// io_uring, default flags.
    Plain,
    /// io_uring with SINGLE_ISSUER and DEFER_TASKRUN (io_uring_setup(2)), which its builder lets through.
    Tuned,
    /// epoll.
    Epoll,
}

/// Serves until the runner's connection ends. Errors: those of the runtime's start, and of the listening socket.
pub fn serve(flavor: Flavor, setup: Setup) -> io::Result<()> {
    match flavor {
        Flavor::Plain => RuntimeBuilder::<IoUringDriver>::new().build()?.block_on(main(setup)),
        Flavor::Tuned => {
            let mut ring = io_uring_06::IoUring::builder();
            ring.setup_single_issuer().setup_defer_taskrun();
            RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring).build()?.block_on(main(setup))
        }
        Flavor::Epoll => RuntimeBuilder::<LegacyDriver>::new().build()?.block_on(main(setup)),
    }
}

async fn main(setup: Setup) -> io::Result<()> {
    let listener = TcpListener::bind(ANY_PORT)?;
    announce(listener.local_addr()?);
    let (mut runner, _) = listener.accept().await?;
    drop(monoio::spawn(accept(listener, setup)));
    while runner.read(vec![0; 16]).await.0? > 0 {}
    Ok(())
}

async fn accept(listener: TcpListener, setup: Setup) {
    while let Ok((stream, _)) = listener.accept().await {
        match setup.scene {
            Scene::Echo => drop(monoio::spawn(echo(stream))),
            Scene::Forward => drop(monoio::spawn(forward(stream, setup))),
            Scene::Http1 => drop(monoio::spawn(http1(stream))),
        }
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        let (read, filled) = stream.read(buffer).await;
        let n = read?;
        if n == 0 {
            return Ok(());
        }
        let (written, slice) = stream.write_all(filled.slice(..n)).await;
        written?;
        buffer = slice.into_inner();
    }
}

async fn forward(client: TcpStream, setup: Setup) -> io::Result<()> {
    client.set_nodelay(true)?;
    let origin = TcpStream::connect_addr(setup.origin).await?;
    origin.set_nodelay(true)?;
    let (mut client_reads, mut client_writes) = client.into_split();
    let (mut origin_reads, mut origin_writes) = origin.into_split();
    let both = monoio::join!(pump(&mut client_reads, &mut origin_writes), pump(&mut origin_reads, &mut client_writes));
    both.0.and(both.1)
}

/// Writes to `writer` what `reader` brings, until its end.
async fn pump(reader: &mut OwnedReadHalf<TcpStream>, writer: &mut OwnedWriteHalf<TcpStream>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_SIZE];
    loop {
        let (read, filled) = reader.read(buffer).await;
        let n = read?;
        if n == 0 {
            return writer.shutdown().await;
        }
        let (written, slice) = writer.write_all(filled.slice(..n)).await;
        written?;
        buffer = slice.into_inner();
    }
}

async fn http1(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; BUFFER_SIZE];
    let mut filled = 0;
    loop {
        let (read, slice) = stream.read(buffer.slice_mut(filled..)).await;
        let n = read?;
        if n == 0 {
            return Ok(()); // The end, or a head that is larger than the buffer.
        }
        buffer = slice.into_inner();
        filled += n;
        while let Some(end) = head_end(&buffer[..filled]) {
            stream.write_all(&ANSWER).await.0?;
            buffer.copy_within(end..filled, 0);
            filled -= end;
        }
    }
}
