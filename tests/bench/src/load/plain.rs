//! One request after the other, for when it does not matter how much the asking costs.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::{Want, wire};

/// How long anybody waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks over a connection of its own, and leaves it open.
pub(crate) fn ask(to: SocketAddr, want: &Want) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    ask_again(&mut stream, want)?;
    Ok(stream)
}

/// Asks over a connection that is open.
pub(crate) fn ask_again(stream: &mut TcpStream, want: &Want) -> Result<Vec<u8>> {
    stream.write_all(&want.request)?;
    let (mut answer, mut piece) = (Vec::new(), [0; 16 << 10]);
    loop {
        let read = stream.read(&mut piece).with_context(|| format!("no answer for {}", want.path))?;
        if read == 0 {
            bail!("the peer closed the connection instead of answering {}", want.path);
        }
        answer.extend_from_slice(&piece[..read]);
        let Some(head) = wire::head(&answer)? else { continue };
        if answer.len() == head.bytes + head.body {
            want.check(head.status, head.body, &answer[..head.bytes])?;
            return Ok(answer.split_off(head.bytes));
        }
    }
}
