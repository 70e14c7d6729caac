//! The one line per request on standard output.

use serde_json::Value;

use crate::caller::{Wire, ask, with_headers};
use crate::sidecar::{Process, Sidecar, command, with_files};
use crate::zoho::{COUNT, USERS, Zoho};

/// Every field, and whether each line has it.
const FIELDS: [(&str, bool); 14] = [
    ("time", true),
    ("request_id", true),
    ("caller", false),
    ("tenant", false),
    ("method", true),
    ("path", true),
    ("route", true),
    ("status", true),
    ("cache", true),
    ("bytes", true),
    ("took_us", true),
    ("upstream_us", false),
    ("refusal", false),
    ("cut_short", false),
];

#[tokio::test]
async fn every_request_has_a_line_of_json_by_the_time_the_process_has_ended() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    let asked = [(COUNT, "miss"), (COUNT, "hit"), (USERS, "bypass"), ("/tenants/none/x?y=z", "refused")];
    for (n, (path, _)) in asked.iter().enumerate() {
        let headers = [("host", "localhost"), ("x-request-id", &*format!("request-{n}"))];
        ask(sidecar.proxy(), with_headers("GET", path, &headers)).await;
    }

    let end = sidecar.stop().await;

    assert_eq!((end.code, end.lines.len()), (Some(0), asked.len()), "{end:?}");
    for (n, (line, (path, cache))) in end.lines.iter().zip(asked).enumerate() {
        let fields: Value = serde_json::from_str(line).unwrap();
        for (field, _) in FIELDS.iter().filter(|(_, always)| *always) {
            assert!(!fields[field].is_null(), "{field} is missing in {line}");
        }
        let known = |field: &String| FIELDS.iter().any(|(name, _)| name == field);
        assert!(fields.as_object().unwrap().keys().all(known), "{line}");
        assert_eq!(fields["request_id"], format!("request-{n}"));
        assert_eq!(fields["path"], path.split('?').next().unwrap(), "never the query");
        assert_eq!(fields["cache"], cache, "{line}");
        assert_eq!(fields["tenant"].is_null(), cache == "refused", "{line}");
        assert_eq!(fields["upstream_us"].is_null(), !matches!(cache, "miss" | "bypass"), "{line}");
    }
}

#[tokio::test]
async fn many_lines_are_all_written_by_the_end() {
    const REQUESTS: usize = 500;
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    for _ in 0..REQUESTS {
        assert_eq!(sidecar.get(COUNT).await.status, 200);
    }
    assert_eq!(sidecar.stop().await.lines.len(), REQUESTS);
}

#[tokio::test]
async fn no_line_is_written_where_none_is_wanted() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "log.requests = false").await;
    assert_eq!(sidecar.get(COUNT).await.status, 200);
    assert_eq!(sidecar.stop().await.lines, [""; 0]);
}

#[tokio::test]
async fn callers_are_served_also_when_the_log_has_no_reader_any_more() {
    let zoho = Zoho::start().await;
    let mut sidecar = Sidecar::run(&zoho, "").await;
    sidecar.process().close_output();
    for _ in 0..20 {
        assert_eq!(sidecar.get(COUNT).await.status, 200);
    }
    assert_eq!(sidecar.stop().await.code, Some(0));
}

#[tokio::test]
async fn a_reader_of_the_log_who_stopped_reading_holds_neither_callers_nor_the_end() {
    let zoho = Zoho::start().await;
    let mut sidecar = Sidecar::run(&zoho, "").await;
    // More than the pipe and all buffers take.
    let long = format!("/tenants/none/{}", "x".repeat(8000));
    for _ in 0..100 {
        assert_eq!(sidecar.get(&long).await.status, 404);
    }

    sidecar.signal("TERM");

    assert_eq!(sidecar.process().end_unread().await, Some(0));
}

#[tokio::test]
async fn no_output_shows_a_credential() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "log.level = \"trace\"").await;
    let headers = [("host", "localhost"), ("authorization", "Zoho-oauthtoken callers-made-up-token")];
    ask(sidecar.proxy(), with_headers("GET", USERS, &headers)).await;

    let end = sidecar.stop().await;

    assert!(end.errors.contains("TRACE") || end.errors.contains("DEBUG"), "the level was heeded");
    for secret in ["emulated-secret", "emulated-refresh", "Zoho-oauthtoken", "callers-made-up-token", "1000."]
    {
        let all = format!("{}{}", end.lines.concat(), end.errors);
        let line = all.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

#[tokio::test]
async fn standard_error_is_json_from_its_first_line_where_events_are() {
    let zoho = Zoho::start().await;
    // Whatever is named here does not exist, which is worth a warning.
    let config = "log.format = \"json\"\n[data_centers.made_up]\napi = \"http://127.0.0.1:1\"\naccounts = \"http://127.0.0.1:1\"\n";
    let sidecar = Sidecar::run(&zoho, config).await;
    assert_eq!(sidecar.get(COUNT).await.status, 200);

    let end = sidecar.stop().await;

    assert!(end.errors.contains("\"level\":\"WARN\""), "{}", end.errors);
    for line in end.errors.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(event["timestamp"].is_string() && event["level"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn a_line_of_text_shows_no_character_that_acts_on_a_terminal() {
    let zoho = Zoho::start().await;
    let config = format!("{}\n[log]\nformat = \"text\"\n", zoho.config());
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::start(&mut command(with_files("run", directory.path(), &[&config])));
    let mut proxy = None;
    loop {
        let line = process.line().await.unwrap();
        if let Some(address) = line.strip_prefix("proxy listening on http://") {
            proxy = Some(address.parse().unwrap());
        }
        if line.starts_with("admin") {
            break;
        }
    }
    for odd in ["\u{9b}31m", "\u{202e}", "\u{2028}", "\u{200b}"] {
        let mut wire = Wire::connect(proxy.unwrap()).await;
        wire.say(&format!("GET /crm/v8/{odd} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"))
            .await;
        let line = process.line().await.unwrap();
        assert!(line.contains("SIDECAR_MALFORMED_REQUEST"), "{line:?}");
        assert!(line.chars().all(|c| matches!(c, ' '..='~')), "{line:?}");
    }
}
