//! Whom a token is for, as an SDK asks the accounts server.
//!
//! Version 2.0 of Zoho's Python SDK asks this once, with the token that it got for a grant code, and keeps its tokens
//! under the `Email` of the answer, by which its user finds them again. So it has to be the real one. The sidecar reads it
//! as any caller could, with a call for the current user, which the caller must be allowed to make.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::Ask;
use crate::net::body::{Body, Prefix};
use crate::net::headers::REQUEST_ID;
use crate::proxy::refusal::Refusal;
use crate::proxy::{Arrival, Handling, Proxy};
use crate::tenants::TENANT_HEADER;

/// The call that says who the current user is.
const CURRENT_USER: &str = "/crm/v8/users?type=CurrentUser";

/// What is read of its answer at most. A user has some two kilobytes.
const LONGEST: usize = 64 * 1024;

impl Proxy {
    /// Answers who the user of a token is. The request is counted and logged as the call that it leads to.
    pub(super) fn tell_user<B>(&self, ask: Ask, request: &Request<B>, arrival: &Arrival) -> Handling {
        let base_path = ask.target.strip_suffix(ask.bare.as_str()).unwrap_or_default();
        let mut call = Request::new(Body::empty());
        *call.method_mut() = Method::GET;
        *call.version_mut() = request.version();
        *call.uri_mut() = match format!("{base_path}{CURRENT_USER}").parse() {
            Ok(uri) => uri,
            Err(_) => {
                let refusal = Refusal::Ambiguous("its target is not a path");
                return Handling::now(self.answer_refusal(ask.facts, request.headers(), &refusal));
            }
        };
        *call.headers_mut() = headers(request.headers(), &arrival.request_id);
        let answering = self.handle(call);
        let asked = request.headers().clone();
        Handling::Later(Box::pin(async move {
            let answered = as_user_info(answering.await).await;
            // The call was counted and logged with its body, so that a refusal in its place is not.
            answered.unwrap_or_else(|refusal| refusal.response(&ask.facts.request_id, &asked, true))
        }))
    }
}

/// What says who asks, and for whom; nothing that would change what is answered.
fn headers(asked: &HeaderMap, request_id: &HeaderValue) -> HeaderMap {
    const PASSED: [HeaderName; 3] = [AUTHORIZATION, HOST, TENANT_HEADER];
    let mut headers = HeaderMap::new();
    for name in PASSED {
        headers.extend(asked.get_all(&name).iter().map(|value| (name.clone(), value.clone())));
    }
    headers.insert(REQUEST_ID, request_id.clone());
    headers
}

/// The answer to that call in the form of the accounts server; as it is where it names no user, as a refusal does.
async fn as_user_info(answer: Response<Body>) -> Result<Response<Body>, Refusal> {
    let is_short = answer.body().size_hint().upper().is_none_or(|most| most <= LONGEST as u64);
    if answer.status() != StatusCode::OK || !is_short {
        return Ok(answer);
    }
    let (mut head, body) = answer.into_parts();
    // A body that is read ahead waits until its reader has written what it took: here nothing is written, so it is copied.
    let copied = body.map_frame(|frame| frame.map_data(|data| Bytes::copy_from_slice(&data)));
    let body = match Body::stream(copied).read_up_to(LONGEST).await {
        Ok(Prefix::Whole(body)) => body,
        Ok(Prefix::Partial(body)) => return Ok(Response::from_parts(head, body)),
        Err(error) => return Err(Refusal::of_answer_body(&error)),
    };
    let Some(info) = user_info(&body) else { return Ok(Response::from_parts(head, Body::full(body))) };
    let mut response = Response::new(Body::full(info.to_string()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.extend(head.headers.remove(REQUEST_ID).map(|id| (REQUEST_ID, id)));
    Ok(response)
}

/// `None` if there is no user with an address.
fn user_info(users: &[u8]) -> Option<Value> {
    let users: Value = serde_json::from_slice(users).ok()?;
    let user = users.get("users")?.get(0)?;
    let email = user.get("email")?.as_str()?;
    let or_empty = |name: &str| user.get(name).cloned().unwrap_or(Value::from(""));
    Some(json!({
        "Email": email,
        "First_Name": or_empty("first_name"),
        "Last_Name": or_empty("last_name"),
        "Display_Name": or_empty("full_name"),
        "ZUID": or_empty("zuid"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_user_is_told_in_the_words_of_the_accounts_server() {
        let users = r#"{"users":[{"id":"1","email":"ada@example.com","first_name":"Ada","full_name":"Ada L","zuid":"7"}]}"#;
        let info = user_info(users.as_bytes()).unwrap();
        let expected = json!({
            "Email": "ada@example.com", "First_Name": "Ada", "Last_Name": "", "Display_Name": "Ada L", "ZUID": "7",
        });
        assert_eq!(info, expected);
    }

    #[test]
    fn what_names_no_user_is_no_user_info() {
        for users in ["", "x", "[]", "{}", r#"{"users":[]}"#, r#"{"users":[{"id":"1"}]}"#, r#"{"users":{}}"#]
        {
            assert_eq!(user_info(users.as_bytes()), None, "{users}");
        }
    }
}
