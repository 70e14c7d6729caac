//! What headers say to a cache. The bytes are lines: first a status and the headers of an answer, then an
//! empty line, then the headers of a request.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{AGE, CACHE_CONTROL, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH, SET_COOKIE};
use http::{HeaderMap, StatusCode};
use zoho_sidecar::cache::origin::{Terms, is_about, terms, updated};
use zoho_sidecar::cache::validator::{http_date, is_unchanged, strong_tag};
use zoho_sidecar::cache::vary;
use zoho_sidecar::cache::wishes::Wishes;

const TARGETED: HeaderName = HeaderName::from_static("cdn-cache-control");

pub fn hold(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let status = lines.next().and_then(|line| StatusCode::from_bytes(line).ok()).unwrap_or(StatusCode::OK);
    let answer = head(lines.by_ref().take_while(|line| !line.is_empty()));
    let asked = head(lines);

    what_forbids_forbids_whatever_else_is_said(status, &answer);
    a_shorter_lifetime_is_never_a_longer_one(status, &answer);
    a_304_about_itself_changes_nothing(&answer);
    the_order_of_vary_means_nothing(&answer);
    wishes_only_narrow(&asked);
    words_that_are_no_wishes_wish_nothing(&asked);
    tags_compare_alike_from_both_sides(&asked, &answer);
    dates_print_as_they_read(&answer);
}

fn head<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.take(32) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_000_000)
}

fn told(status: StatusCode, answer: &HeaderMap) -> Option<Terms> {
    terms(status, answer, Duration::ZERO, now())
}

/// The same headers, and one more.
fn and(headers: &HeaderMap, name: HeaderName, value: &'static str) -> HeaderMap {
    let mut headers = headers.clone();
    headers.append(name, HeaderValue::from_static(value));
    headers
}

fn what_forbids_forbids_whatever_else_is_said(status: StatusCode, answer: &HeaderMap) {
    assert_eq!(told(status, &and(answer, SET_COOKIE, "a=b")), None);
    if answer.contains_key(TARGETED) {
        return;
    }
    assert_eq!(told(status, &and(answer, CACHE_CONTROL, "private")), None);
    let understood = says(answer, "must-understand");
    assert!(understood || told(status, &and(answer, CACHE_CONTROL, "no-store")).is_none());
    if let Some(terms) = told(status, &and(answer, CACHE_CONTROL, "no-cache")) {
        assert!(terms.fresh_for.is_zero() && !terms.may_be_stale, "{terms:?}");
    }
    if let Some(terms) = told(status, &and(answer, CACHE_CONTROL, "must-revalidate")) {
        assert!(!terms.may_be_stale, "{terms:?}");
    }
}

fn says(headers: &HeaderMap, word: &str) -> bool {
    let values = headers.get_all(CACHE_CONTROL).iter();
    values.into_iter().any(|value| String::from_utf8_lossy(value.as_bytes()).to_lowercase().contains(word))
}

fn a_shorter_lifetime_is_never_a_longer_one(status: StatusCode, answer: &HeaderMap) {
    let before = told(status, answer);
    if let Some(terms) = &before {
        assert!(terms.initial_age >= Duration::ZERO && vary::named(answer).is_some(), "{terms:?}");
        assert!(!answer.contains_key(SET_COOKIE));
    }
    if answer.contains_key(TARGETED) {
        return;
    }
    let shorter = told(status, &and(answer, CACHE_CONTROL, "s-maxage=7"));
    assert!(shorter.is_none_or(|terms| terms.fresh_for <= Duration::from_secs(7) && !terms.may_be_stale));
    let least = told(status, &and(answer, CACHE_CONTROL, "max-age=0"));
    assert!(says(answer, "s-maxage") || least.is_none_or(|terms| terms.fresh_for.is_zero()));
    // Who forbids nothing is not heard better than who forbids.
    let older = told(status, &and(answer, AGE, "60"));
    if let (Some(before), Some(older)) = (before, older) {
        assert!(older.initial_age >= before.initial_age, "{before:?} {older:?}");
    }
}

fn a_304_about_itself_changes_nothing(answer: &HeaderMap) {
    assert!(is_about(answer, answer));
    assert_eq!(&updated(answer, answer), answer);
    assert_eq!(&updated(answer, &HeaderMap::new()), answer);
    let other = and(&HeaderMap::new(), ETAG, "\"made-up-other\"");
    assert_eq!(updated(answer, &other).get(ETAG), other.get(ETAG));
}

fn the_order_of_vary_means_nothing(answer: &HeaderMap) {
    let mut backwards = HeaderMap::new();
    let values: Vec<_> = answer.get_all("vary").iter().cloned().collect();
    for value in values.into_iter().rev() {
        backwards.append("vary", value);
    }
    assert_eq!(vary::named(answer), vary::named(&backwards));
}

/// One more word never makes a caller content with more; only `max-stale` is there to do so.
fn wishes_only_narrow(asked: &HeaderMap) {
    if !asked.contains_key(CACHE_CONTROL) {
        return;
    }
    let before = Wishes::of(asked);
    let seconds = |seconds: u64| Duration::from_secs(seconds);
    for word in
        ["no-cache", "no-store", "only-if-cached", "max-age=5", "min-fresh=50", "made-up=1", "max-age=x"]
    {
        let after = Wishes::of(&and(asked, CACHE_CONTROL, word));
        for (age, left) in [(0, 10), (5, 5), (6, 100), (100, 0), (1 << 32, 1 << 32)] {
            let (age, left) = (seconds(age), seconds(left));
            assert!(before.accept_fresh(age, left) || !after.accept_fresh(age, left), "{before:?} {after:?}");
            assert!(before.accept_stale(age, left) || !after.accept_stale(age, left), "{before:?} {after:?}");
            assert!(before.accept_while_revalidating(age) || !after.accept_while_revalidating(age));
        }
        let kept = [(before.no_cache, after.no_cache), (before.no_store, after.no_store)];
        assert!(kept.iter().all(|(before, after)| *after || !before), "{before:?} {after:?}");
    }
    let stale = Wishes::of(&and(asked, CACHE_CONTROL, "max-stale=5"));
    assert!(!stale.accept_stale(seconds(0), seconds(6)), "{stale:?}");
}

fn words_that_are_no_wishes_wish_nothing(asked: &HeaderMap) {
    let words = ["no-cache", "no-store", "only-if-cached", "max-age", "min-fresh", "max-stale"];
    let is_heard = words.iter().any(|word| says(asked, word));
    let is_pragma = !asked.contains_key(CACHE_CONTROL) && asked.contains_key("pragma");
    assert!(is_heard || is_pragma || Wishes::of(asked) == Wishes::default(), "{asked:?}");
}

fn tags_compare_alike_from_both_sides(asked: &HeaderMap, answer: &HeaderMap) {
    let pair = |name: HeaderName, tag: &HeaderValue| HeaderMap::from_iter([(name, tag.clone())]);
    let is_same = |asked: &HeaderValue, kept: &HeaderValue| {
        is_unchanged(&pair(IF_NONE_MATCH, asked), &pair(ETAG, kept))
    };
    let tags = asked.get_all(IF_NONE_MATCH).iter().chain(answer.get_all(ETAG));
    let tags: Vec<_> = tags.filter(|tag| is_tag(tag.as_bytes())).take(4).collect();
    for one in &tags {
        assert!(is_same(one, one), "{one:?}");
        for other in &tags {
            assert_eq!(is_same(one, other), is_same(other, one), "{one:?} {other:?}");
        }
    }
    let own = strong_tag(asked.get(IF_NONE_MATCH).map_or(b"", |value| value.as_bytes()));
    assert!(is_same(&own, &own) && is_same(&HeaderValue::from_static("*"), &own));
    assert!(!is_unchanged(asked, &HeaderMap::new()), "nothing is kept, so nothing is unchanged");
}

/// RFC 9110 section 8.8.3: quotes around visible characters other than quotes, perhaps weak.
fn is_tag(bytes: &[u8]) -> bool {
    let opaque = bytes.strip_prefix(b"W/").unwrap_or(bytes);
    let inner = opaque.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inner.is_some_and(|inner| inner.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"'))
}

fn dates_print_as_they_read(answer: &HeaderMap) {
    for value in answer.values() {
        let Some(date) = http_date(value) else { continue };
        let text = HeaderValue::from_str(&httpdate::fmt_http_date(date)).expect("a date is a header value");
        assert_eq!(http_date(&text), Some(date), "{value:?}");
    }
}
