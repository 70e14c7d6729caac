//! Tests of what passes for an answer.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;

use super::*;

const JSON: &str = "application/json;charset=UTF-8";

fn head(content_type: &str, coding: &str) -> HeaderMap {
    let pairs = [(CONTENT_TYPE, content_type), (CONTENT_ENCODING, coding)];
    let given = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    given.map(|(name, value)| (name, value.parse().unwrap())).collect()
}

fn checked(content_type: &str, body: impl AsRef<[u8]>) -> Result<(), Invalid> {
    check(&ContentTypes::json(), &head(content_type, ""), body.as_ref(), Extent::Whole)
}

fn types(texts: &[&str]) -> ContentTypes {
    ContentTypes::of(texts.iter().map(|text| text.parse().unwrap()).collect())
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// A JSON object of more bytes than are looked at.
fn long(beginning: &str) -> String {
    let rows = r#"{"id":"1111111111","name":"made up"},"#.repeat(500);
    format!(r#"{{{beginning}"rows":[{rows}{{}}]}}"#)
}

#[test]
fn objects_and_arrays_are_answers() {
    for body in [
        "{}",
        "[]",
        " \r\n{\"a\":1}\n",
        "\u{feff}{\"a\":\"\\u00e9\"}",
        r#"{"data":[{"code":"SUCCESS","details":{},"message":"done","status":"success"}]}"#,
        r#"{"data":[{"code":"INVALID_DATA","status":"error"}]}"#,
        r#"[{"code":"X","status":"error"}]"#,
        r#"{"status":"active","code":7}"#,
        r#"{"status":{"status":"error"}}"#,
        &long(""),
    ] {
        for content_type in [JSON, "Application/JSON", "text/json", "application/hal+json", ""] {
            assert_eq!(checked(content_type, body), Ok(()), "{content_type} {body}");
        }
    }
}

#[test]
fn what_is_no_answer_is_recognized_whatever_its_type_says() {
    for (body, why) in [
        ("", Invalid::Empty),
        (" \r\n\t", Invalid::Empty),
        ("\u{feff}", Invalid::Empty),
        ("<!DOCTYPE html><title>Sign in</title>", Invalid::Html),
        ("\n<HTML>", Invalid::Html),
        ("Service temporarily unavailable", Invalid::NotJson),
        ("{\"a\":1", Invalid::NotJson),
        ("{\"a\":1}}", Invalid::NotJson),
        ("{\"a\":tru}", Invalid::NotJson),
        ("null", Invalid::Scalar),
        ("true", Invalid::Scalar),
        ("-7", Invalid::Scalar),
        ("7.5", Invalid::Scalar),
        ("\"OK\"", Invalid::Scalar),
        (r#"{"code":"INTERNAL_ERROR","details":{},"message":"…","status":"error"}"#, Invalid::ErrorEnvelope),
        (r#"{"status":"error","code":"X"}"#, Invalid::ErrorEnvelope),
        (r#"{"status":"err\u006fr","code":"X"}"#, Invalid::ErrorEnvelope),
        (r#"{"status" : "ERROR" , "code": 7"#, Invalid::ErrorEnvelope),
        (&long(r#""status":"error","#), Invalid::ErrorEnvelope),
        (long("").trim_end_matches('}'), Invalid::NotJson),
        (&long("oops"), Invalid::NotJson),
    ] {
        for content_type in [JSON, ""] {
            assert_eq!(checked(content_type, body), Err(why.clone()), "{content_type} {body}");
        }
    }
}

#[test]
fn another_type_is_no_answer_unless_the_rule_stores_it() {
    for content_type in ["text/html", "text/html;charset=UTF-8", "text/plain", "image/png", "nonsense", ";"] {
        assert_eq!(checked(content_type, "{}"), Err(Invalid::ContentType), "{content_type}");
    }
    let check = |types: &[&str], content_type: &str, body: &str| {
        super::check(&self::types(types), &head(content_type, ""), body.as_bytes(), Extent::Whole)
    };
    assert_eq!(check(&["text/csv"], "text/csv; header=present", "a,b\n"), Ok(()));
    assert_eq!(check(&["text/csv"], JSON, "{}"), Err(Invalid::ContentType));
    assert_eq!(check(&["text/csv"], "", "a,b\n"), Err(Invalid::ContentType));
    assert_eq!(check(&["text/csv"], "text/csv", ""), Err(Invalid::Empty));
    assert_eq!(check(&["text/csv"], "text/csv", "<html>"), Err(Invalid::Html));
    assert_eq!(check(&["text/html"], "text/html", "<html>"), Ok(()));
    assert_eq!(check(&["image/*"], "image/png", "\u{1}PNG"), Ok(()));
    assert_eq!(check(&["*/*"], "", "anything"), Ok(()));
    assert_eq!(check(&["*/*"], JSON, "anything"), Err(Invalid::NotJson));
    assert_eq!(check(&["text/csv", "application/json"], JSON, "{}"), Ok(()));
}

#[test]
fn a_coded_body_is_looked_into() {
    let error = br#"{"code":"X","status":"error"}"#;
    let coded =
        |coding: &str, body: &[u8]| check(&ContentTypes::json(), &head(JSON, coding), body, Extent::Whole);
    for (body, expected) in
        [(&b"{}"[..], Ok(())), (error, Err(Invalid::ErrorEnvelope)), (long("").as_bytes(), Ok(()))]
    {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(body).unwrap();
        bare.write_all(body).unwrap();
        assert_eq!(coded("gzip", &gzip(body)), expected);
        assert_eq!(coded("X-GZIP", &gzip(body)), expected);
        assert_eq!(coded("deflate", &zlib.finish().unwrap()), expected);
        assert_eq!(coded("deflate", &bare.finish().unwrap()), expected);
        assert_eq!(coded("identity", body), expected);
        assert_eq!(coded("br", body), Err(Invalid::Coding), "a coding that was not asked for");
        assert_eq!(coded("gzip, gzip", &gzip(&gzip(body))), Err(Invalid::Coding));
    }
    assert_eq!(coded("gzip", b"{}"), Err(Invalid::Coding));
    assert_eq!(coded("gzip", &gzip(b"")), Err(Invalid::Empty));
    let whole = gzip(b"{\"a\":1}");
    assert_eq!(coded("gzip", &whole[..whole.len() - 9]), Err(Invalid::Coding), "cut off");
}

#[test]
fn the_beginning_of_a_long_body_is_judged_by_what_it_shows() {
    let error = long(r#""status":"error","#);
    for (body, expected) in [
        (long(""), Ok(())),
        (error, Err(Invalid::ErrorEnvelope)),
        ("<html>".repeat(1_000), Err(Invalid::Html)),
        ("Out of order. ".repeat(1_000), Err(Invalid::NotJson)),
    ] {
        for (coding, bytes) in [("", body.clone().into_bytes()), ("gzip", gzip(body.as_bytes()))] {
            for length in [bytes.len() - 9, bytes.len().min(600) - 9] {
                let checked =
                    check(&ContentTypes::json(), &head(JSON, coding), &bytes[..length], Extent::Beginning);
                assert_eq!(checked, expected, "{coding} {length} {body:.40}");
            }
        }
    }
    let nope = check(&ContentTypes::json(), &head(JSON, "gzip"), b"nope", Extent::Beginning);
    assert_eq!(nope, Err(Invalid::Coding));
}

#[test]
fn no_more_is_decoded_than_is_looked_at() {
    let bomb = gzip(&vec![b' '; 64 << 20]);
    let checked = check(&ContentTypes::json(), &head(JSON, "gzip"), &bomb, Extent::Whole);
    assert_eq!(checked, Err(Invalid::Empty));
}

proptest! {
    #[test]
    fn no_body_makes_looking_panic(body in proptest::collection::vec(any::<u8>(), 0..200), coding in 0usize..4) {
        let coding = ["", "gzip", "deflate", "br"][coding];
        for extent in [Extent::Whole, Extent::Beginning] {
            let _ = check(&ContentTypes::json(), &head(JSON, coding), &body, extent);
        }
    }

    #[test]
    fn every_object_that_does_not_say_error_is_an_answer(
        members in proptest::collection::btree_map("[a-z]{1,8}", "[ -~]{0,300}", 0..40)
    ) {
        let says_error = members.get("status").is_some_and(|status| status.eq_ignore_ascii_case("error"));
        let body = serde_json::to_vec(&members).unwrap();
        prop_assert_eq!(checked(JSON, &body).is_ok(), !says_error);
        let coded = check(&ContentTypes::json(), &head(JSON, "gzip"), &gzip(&body), Extent::Whole);
        prop_assert_eq!(coded.is_ok(), !says_error);
    }
}

#[test]
fn json_is_utf_8_and_has_one_type() {
    let check =
        |head: &HeaderMap, body: &[u8]| super::check(&ContentTypes::json(), head, body, Extent::Whole);
    assert_eq!(check(&head(JSON, ""), b"{\"a\":\"\xff\xfe\"}"), Err(Invalid::NotJson));
    assert_eq!(check(&head(JSON, ""), "{\"a\":\"é\"}".as_bytes()), Ok(()));
    // The end of what is looked at lies in the middle of a character.
    let long = format!("{{\"a\":\"{}\"}}", "é".repeat(LOOKED_AT));
    assert_eq!(check(&head(JSON, ""), long.as_bytes()), Ok(()));
    let long = format!("{{\"aa\":\"{}\"}}", "é".repeat(LOOKED_AT));
    assert_eq!(check(&head(JSON, ""), long.as_bytes()), Ok(()));

    let mut two = head(JSON, "");
    two.append(CONTENT_TYPE, JSON.parse().unwrap());
    assert_eq!(check(&two, b"{}"), Err(Invalid::ContentType));
}
