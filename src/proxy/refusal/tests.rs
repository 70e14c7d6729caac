use std::collections::BTreeSet;

use http_body_util::BodyExt as _;

use super::*;

/// Every refusal there is.
fn every() -> Vec<Refusal> {
    let second = Duration::from_secs(1);
    let unavailable = Unavailable {
        tenant: "acme".to_owned(),
        health: crate::oauth::Health::Starting,
        retry_after: second,
        is_only_here: false,
    };
    let forbidden = Forbidden {
        // A name could not hold a line feed; what a refusal repeats must not depend on that.
        caller: "billing\n".to_owned(),
        excess: Excess::Path,
        place: Place::Composite,
    };
    let too_long = HeaderTooLong { name: HeaderName::from_static("x-crm-org"), limit: 1 };
    vec![
        Refusal::Ambiguous("a\nb"),
        Refusal::Malformed(Fault::BareLineFeed),
        Refusal::Malformed(Fault::Version),
        Refusal::Malformed(Fault::TargetTooLong(1)),
        Refusal::Malformed(Fault::UnknownCoding),
        Refusal::Malformed(Fault::HeadTooLong(1)),
        Refusal::UriTooLong(1),
        Refusal::HeaderTooLong(Box::new(too_long)),
        Refusal::Method,
        Refusal::Expectation,
        Refusal::Browser,
        Refusal::ForeignHost,
        Refusal::CallerUnknown,
        Refusal::CallerForbidden(Box::new(forbidden)),
        Refusal::TenantMissing(NoTenant::Missing(vec!["acme".to_owned()])),
        Refusal::OfAccounts,
        Refusal::FormTooLong(1),
        Refusal::TenantUnknown(NoTenant::Unknown("a\nb".to_owned())),
        Refusal::RequestBroken,
        Refusal::RequestStalled(BrokenOff::Idle(second)),
        Refusal::TokenUnavailable(Box::new(unavailable)),
        Refusal::TokenRejected(second),
        Refusal::TokenRejectedHere(second),
        Refusal::SendAgain,
        Refusal::Crowded(Crowded::Full),
        Refusal::Unreachable,
        Refusal::ConnectTimeout,
        Refusal::TooManyConnections,
        Refusal::UpstreamBroken,
        Refusal::NotProcessed,
        Refusal::ResponseHeadTooLarge,
        Refusal::FirstByteTimeout(second),
        Refusal::UploadTimeout(second),
        Refusal::IdleTimeout(second),
        Refusal::TotalTimeout(second),
        Refusal::NotCached,
        Refusal::Internal,
    ]
}

/// The codes that the README documents.
fn documented() -> BTreeSet<&'static str> {
    let table =
        include_str!("../../../README.md").lines().filter_map(|line| line.strip_prefix("| `SIDECAR_"));
    table.filter_map(|line| line.split('`').next()).collect()
}

#[test]
fn every_documented_code_is_among_the_refusals_and_the_other_way_round() {
    let codes: Vec<&str> = every().iter().map(Refusal::code).collect();
    let codes: BTreeSet<&str> = codes.iter().filter_map(|code| code.strip_prefix("SIDECAR_")).collect();
    assert_eq!(codes, documented());
}

/// Zoho's PHP SDK takes what follows the last line feed of the whole response for JSON.
#[tokio::test]
async fn no_refusal_has_a_line_feed_in_its_body() {
    let problem = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/problem+json"))]);
    for refusal in every() {
        for callers in [&HeaderMap::new(), &problem] {
            for asks_token in [false, true] {
                let response = refusal.response(&HeaderValue::from_static("id-1"), callers, asks_token);
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert!(!body.contains(&b'\n') && !body.contains(&b'\r'), "{refusal:?}: {body:?}");
                let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(json["code"], refusal.code());
                assert_eq!(json["error"].is_string(), asks_token);
            }
        }
    }
}
