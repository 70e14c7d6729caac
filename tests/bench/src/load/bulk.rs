//! Bodies that are long, a few at once, down or up.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::{Want, wire};

const PATIENCE: Duration = Duration::from_mins(1);
const PIECE: usize = 256 << 10;

/// Which way the bodies go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Down,
    Up,
}

/// Takes this many bodies at once, so many times one after the other; all bytes that went.
pub(crate) fn run(to: SocketAddr, way: Way, mebibytes: usize, at_once: usize, times: usize) -> Result<u64> {
    let one_after_the_other = || -> Result<()> {
        let mut stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        for _ in 0..times {
            match way {
                Way::Down => down(&mut stream, mebibytes)?,
                Way::Up => up(&mut stream, mebibytes)?,
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(one_after_the_other)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("whoever fails says so"))
    })?;
    Ok(((mebibytes << 20) * at_once * times) as u64)
}

fn down(stream: &mut TcpStream, mebibytes: usize) -> Result<()> {
    let want = Want::get(format!("/large/{mebibytes}")).long(mebibytes << 20);
    stream.write_all(&want.request)?;
    receive(stream, &want)
}

fn up(stream: &mut TcpStream, mebibytes: usize) -> Result<()> {
    let want = Want::post("/crm/v8/files", "");
    let head = format!(
        "POST /crm/v8/files HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/octet-stream\r\n\
         content-length: {}\r\n\r\n",
        mebibytes << 20
    );
    stream.write_all(head.as_bytes())?;
    let piece = vec![b'0'; PIECE];
    for _ in 0..(mebibytes << 20) / PIECE {
        stream.write_all(&piece).context("a long body was not taken")?;
    }
    receive(stream, &want)
}

fn receive(stream: &mut TcpStream, want: &Want) -> Result<()> {
    let (mut piece, mut filled) = (vec![0; PIECE], 0);
    let head = loop {
        let read = stream.read(&mut piece[filled..]).context("no answer about a long body")?;
        ensure!(read > 0, "the peer closed the connection instead of answering {}", want.path);
        filled += read;
        if let Some(head) = wire::head(&piece[..filled])? {
            break head;
        }
    };
    want.check(head.status, head.body, &piece[..head.bytes])?;
    let mut left = head.body + head.bytes - filled;
    while left > 0 {
        match stream.read(&mut piece).context("a long body broke off")? {
            0 => bail!("the peer closed the connection {left} bytes too early"),
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}
