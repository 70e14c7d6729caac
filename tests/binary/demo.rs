//! `demo`: the tour.

use crate::sidecar::{Process, command, ended};

#[tokio::test]
async fn demo_once_shows_all_seven_steps_and_ends_with_0() {
    let demo = ended(["demo", "--once"]).await;

    assert_eq!((demo.code, demo.errors.as_str()), (Some(0), ""), "{demo:?}");
    let titles: Vec<&String> =
        demo.lines.iter().filter(|line| line.starts_with(|first: char| first.is_ascii_digit())).collect();
    assert_eq!(
        titles,
        [
            "1. The first token",
            "2. A miss",
            "3. A hit",
            "4. A hundred callers at once",
            "5. A write that forgets",
            "6. A token dies early",
            "7. Zoho is down",
        ]
    );
    assert!(!demo.lines.concat().contains('✗'), "{:?}", demo.lines);
    assert_eq!(demo.lines.last().unwrap(), "   ✓ Every step went as told.");
}

#[tokio::test]
async fn the_demo_does_not_ask_by_the_proxy_of_the_environment() {
    for (variable, value) in [("ALL_PROXY", "socks5://127.0.0.1:1"), ("HTTPS_PROXY", "https://127.0.0.1:1")] {
        let demo = Process::start(command(["demo", "--once"]).env(variable, value)).end().await;
        assert_eq!((demo.code, demo.errors.as_str()), (Some(0), ""), "{variable}: {demo:?}");
    }
}

#[tokio::test]
async fn after_the_tour_demo_keeps_serving_until_it_is_told_to_stop() {
    let mut demo = Process::start(&mut command(["demo"]));
    let mut tried = None;
    loop {
        let line = demo.line().await.expect("the demo goes on");
        if line.contains("a cached read, twice") {
            tried = line.split("http://").nth(1).map(str::to_owned);
        }
        if line == "Ctrl-C ends it." {
            break;
        }
    }

    let url = tried.unwrap();
    let (address, path) = url.split_once('/').unwrap();
    let answer = crate::caller::get(address.parse().unwrap(), &format!("/{path}")).await;

    assert_eq!(answer.status, 200, "what it says to try works");
    demo.signal("INT");
    assert_eq!(demo.end().await.code, Some(0));
}
