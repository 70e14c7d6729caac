//! What many callers make the sidecar hold has a bound, and is given back when they are gone.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use crate::caller;
use crate::frames;
use crate::sidecar::Sidecar;
use crate::until;
use crate::zoho::{HeldApi, Zoho};

const MIB: usize = 1 << 20;
/// How many callers there are, each of which would like to hold most of a megabyte.
const MANY: usize = 200;
/// The budget of all bodies (`server.buffer_bytes`) with what is lost around their pieces, and what each caller takes beyond.
const MOST_GROWTH: usize = 48 * MIB + MANY * 128 * 1024;
/// What may be left when all have gone.
const MOST_LEFT: usize = 20 * MIB;
const LONG_ANSWER: &str = "/crm/v8/__bytes?size=16777216";

/// The memory that a process has resident.
fn resident(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Waits until a process has stopped growing, which is when it has taken what it would take; then lets go of the
/// callers, and waits until it has given most of it back.
async fn assert_bounded<T>(process: u32, before: usize, callers: T) {
    let (mut most, mut looks_since) = (before, 0);
    until("the end of growth", async || {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = resident(process);
        looks_since = if now > most + MIB / 4 || most < before + 2 * MIB { 0 } else { looks_since + 1 };
        most = most.max(now);
        looks_since >= 10
    })
    .await;
    let growth = most - before;
    assert!(growth < MOST_GROWTH, "grew by {} MiB", growth / MIB);
    drop(callers);
    until("memory given back", async || resident(process) < before + MOST_LEFT).await;
}

/// A sidecar that has answered once, its process, and what that has resident.
async fn started(zoho: &Zoho) -> (Sidecar, u32, usize) {
    // Soon enough to notice uploads whose callers have gone while Zoho took nothing of them.
    // Idle connections are not closed in time to hide what they hold.
    let config = "[upstream]\nidle_timeout = \"10s\"\npool_idle_timeout = \"10m\"\n";
    let mut sidecar = Sidecar::run(zoho, config).await;
    sidecar.ready().await;
    assert_eq!(sidecar.get("/tenants/none").await.status, 404);
    let process = sidecar.process().id();
    (sidecar, process, resident(process))
}

#[tokio::test]
async fn many_answers_of_http1_that_nobody_reads_are_held_within_a_bound() {
    let zoho = Zoho::start().await;
    let (sidecar, process, before) = started(&zoho).await;
    let mut unread = Vec::new();
    for _ in 0..MANY {
        unread.push(caller::Wire::asking(sidecar.proxy(), LONG_ANSWER).await);
    }
    assert_bounded(process, before, unread).await;
}

#[tokio::test]
async fn many_answers_of_http2_that_nobody_reads_are_held_within_a_bound() {
    let zoho = Zoho::start().await;
    let (sidecar, process, before) = started(&zoho).await;
    let mut unread = Vec::new();
    for _ in 0..4 {
        let requests = (1..).step_by(2).take(MANY / 4).flat_map(|stream| frames::get(stream, LONG_ANSWER));
        let requests: Vec<u8> = frames::preface(&[]).into_iter().chain(requests).collect();
        let mut stream = caller::tcp(sidecar.proxy()).await;
        stream.write_all(&requests).await.unwrap();
        unread.push(stream);
    }
    assert_bounded(process, before, unread).await;
}

#[tokio::test]
async fn many_uploads_that_zoho_does_not_take_are_held_within_a_bound() {
    const LENGTH: usize = 50_000_000;
    let api = HeldApi::start().await;
    let zoho = Zoho::with_api(&api).await;
    let (sidecar, process, before) = started(&zoho).await;
    let mut uploads = JoinSet::new();
    for _ in 0..MANY {
        let mut stream = caller::tcp(sidecar.proxy()).await;
        uploads.spawn(async move {
            let head =
                format!("POST /crm/v8/files HTTP/1.1\r\nhost: localhost\r\ncontent-length: {LENGTH}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            let piece = vec![b'x'; 50_000];
            for _ in 0..LENGTH / piece.len() {
                stream.write_all(&piece).await?;
            }
            std::io::Result::Ok(())
        });
    }
    assert_bounded(process, before, uploads).await;
}

#[tokio::test]
async fn connections_that_rest_keep_no_more_than_a_quarter_of_the_budget() {
    let zoho = Zoho::start().await;
    let (sidecar, ..) = started(&zoho).await;
    let address = sidecar.proxy();
    let mut reading = JoinSet::new();
    for _ in 0..MANY {
        reading.spawn(async move { caller::get(address, "/crm/v8/__bytes?size=200000").await.status });
    }
    while let Some(status) = reading.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    until("memory given back", async || {
        sidecar.metric("zoho_sidecar_buffer_bytes ").await <= 8.0 * 1024.0 * 1024.0
    })
    .await;
}
