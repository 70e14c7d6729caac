//! Callers that read or send slowly, or not at all, and leave when they like.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;

use super::Activity;
use super::dice::Dice;
use super::stage::Stage;
use super::tally::Tally;

pub(super) fn all(stage: &Arc<Stage>) -> Vec<Activity> {
    let mut all: Vec<Activity> = Vec::new();
    for seed in 0..2 {
        all.push(activity(stage, 300 + seed, "slow upload", slow_upload));
        all.push(activity(stage, 400 + seed, "unread response", unread_response));
        all.push(activity(stage, 500 + seed, "garbage", garbage));
    }
    all.push(activity(stage, 600, "streams without a window", streams_without_a_window));
    all
}

fn activity(
    stage: &Arc<Stage>,
    seed: u64,
    name: &'static str,
    act: fn(&Stage, &mut Dice) -> Result<()>,
) -> Activity {
    let (stage, mut dice) = (stage.clone(), Dice::new(seed));
    Box::new(move |tally: &Tally| {
        // The sidecar may end such a connection whenever it likes: an error is as good as none.
        tally.nuisance(name, act(&stage, &mut dice).is_ok());
        Duration::from_millis(100 + dice.below(1000))
    })
}

fn connect(stage: &Stage) -> Result<TcpStream> {
    let stream = TcpStream::connect(&stage.proxy)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.set_write_timeout(Some(Duration::from_secs(20)))?;
    Ok(stream)
}

/// Sends a long body in pieces, and leaves in the middle now and then.
fn slow_upload(stage: &Stage, dice: &mut Dice) -> Result<()> {
    let mut stream = connect(stage)?;
    let length = 50_000 + dice.below(400_000);
    let head = format!(
        "POST /crm/v8/Leads HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n",
        stage.proxy
    );
    stream.write_all(head.as_bytes())?;
    let piece = vec![b' '; 8 * 1024];
    let mut left = usize::try_from(length)?;
    let leaves_at = usize::try_from(dice.below(2 * length))?;
    while left > leaves_at.min(left - 1) {
        let now = piece.len().min(left);
        stream.write_all(&piece[..now])?;
        left -= now;
        if left == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(dice.below(60)));
    }
    if left == 0 {
        let _ = stream.read(&mut [0; 1024])?;
    }
    Ok(())
}

/// Asks for many responses and reads none of them for a while.
fn unread_response(stage: &Stage, dice: &mut Dice) -> Result<()> {
    let mut stream = connect(stage)?;
    for _ in 0..=dice.below(200) {
        let asked = format!("GET /crm/v8/users?type=AllUsers HTTP/1.1\r\nhost: {}\r\n\r\n", stage.proxy);
        stream.write_all(asked.as_bytes())?;
    }
    std::thread::sleep(Duration::from_millis(dice.below(4000)));
    Ok(())
}

/// Sends what is no HTTP, or only half of it.
fn garbage(stage: &Stage, dice: &mut Dice) -> Result<()> {
    let texts: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        b"POST /crm/v8/Leads HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /crm/v8/users HTTP/1.1\r\nhost: ",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\xff\xff",
        b"GET /crm/../x HTTP/1.1\r\nhost: a\r\n\r\n",
    ];
    let mut stream = connect(stage)?;
    let text: &&[u8] = dice.choose(&texts);
    stream.write_all(text)?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    let _ = stream.read(&mut [0; 1024]);
    Ok(())
}

/// Opens streams of HTTP/2 whose responses cannot be sent, because their windows stay at zero.
fn streams_without_a_window(stage: &Stage, dice: &mut Dice) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let patience = Duration::from_millis(500 + dice.below(4000));
    let streams = 1 + dice.below(40);
    let proxy = stage.proxy.clone();
    runtime.block_on(async move {
        let tcp = tokio::net::TcpStream::connect(&proxy).await?;
        let (sender, connection) =
            h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(tcp).await?;
        let connection = tokio::spawn(connection);
        let mut sender = sender.ready().await?;
        let mut responses = Vec::new();
        for _ in 0..streams {
            let request = http::Request::get(format!("http://{proxy}/crm/v8/users?type=AllUsers")).body(())?;
            responses.push(sender.send_request(request, true).context("a stream is refused")?.0);
            sender = sender.ready().await?;
        }
        tokio::time::sleep(patience).await;
        drop(responses);
        connection.abort();
        anyhow::Ok(())
    })
}
