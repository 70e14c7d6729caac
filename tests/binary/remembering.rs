//! Memory under requests whose keys never come again: none of the memories that keys enter grows with them.

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use zoho_sidecar::emulator::Fault;

use crate::caller::{self, Answer};
use crate::sidecar::Sidecar;
use crate::streaming::growing_by_less_than;
use crate::within;
use crate::zoho::{COUNT, Zoho};

const MIB: usize = 1024 * 1024;
/// As many as would take 20 MiB if their keys were remembered.
const KEYS: usize = 1_200;
/// What `server.max_uri_bytes` and `cache.max_key_header_bytes` let into one key.
const LONGEST_QUERY: usize = 15 * 1024;
const LONGEST_VALUE: usize = 1024;

/// Asks for the count under so many new keys, each as long as may be, on one connection.
async fn ask_under_new_keys(sidecar: &Sidecar, keys: std::ops::Range<usize>, status: u16) {
    let io = TokioIo::new(caller::tcp(sidecar.proxy()).await);
    let (mut sender, connection) = http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    for key in keys {
        let (value, query) = (format!("{key:0LONGEST_VALUE$}"), format!("{key:0LONGEST_QUERY$}"));
        let headers = [("host", "localhost"), ("x-crm-org", value.as_str()), ("x-external", value.as_str())];
        let request = caller::with_headers("GET", &format!("{COUNT}?more={query}"), &headers);
        let answer = within("an answer", sender.send_request(request)).await.unwrap();
        assert_eq!(Answer::read(answer).await.status, status);
    }
}

#[tokio::test]
async fn keys_as_long_as_may_be_leave_no_trace_in_memory_whatever_zoho_answers() {
    let zoho = Zoho::start().await;
    let config = "[cache]\nmax_bytes = \"1MiB\"\n[log]\nrequests = false\nlevel = \"error\"\n";
    let mut sidecar = Sidecar::run(&zoho, config).await;
    sidecar.ready().await;
    ask_under_new_keys(&sidecar, 0..100, 200).await;
    growing_by_less_than(10 * MIB, &mut sidecar, async |sidecar| {
        ask_under_new_keys(sidecar, 100..KEYS / 2, 200).await;
        zoho.calls_always(Fault::Empty503);
        ask_under_new_keys(sidecar, KEYS / 2..KEYS, 503).await;
    })
    .await;
    assert!(sidecar.metric("zoho_sidecar_cache_bytes").await <= 1_048_576.0);
}
