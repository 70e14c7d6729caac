//! The emulator as a caller meets it.

mod accounts;
mod attachments;
mod bulk;
mod crm;
mod faults;
mod sockets;
mod territories;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::*;

const COUNTS: &str = "/crm/v8/settings/territories/actions/associated_users_count";

/// An answer, read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A program that talks to the emulator.
struct Program {
    zoho: Emulator,
    organisation: Organisation,
    token: String,
}

impl Program {
    /// The program of `acme`, with a token.
    async fn of_acme(scenario: Scenario) -> Self {
        let zoho = Emulator::new(scenario, Clock::system());
        let organisation = zoho.organisation("acme");
        let mut program = Self { zoho, organisation, token: String::new() };
        program.token = program.mint().await.json()["access_token"].as_str().unwrap().to_owned();
        program
    }

    async fn shipped() -> Self {
        Self::of_acme(Scenario::default()).await
    }

    async fn mint(&self) -> Answer {
        let organisation = &self.organisation;
        let form = format!(
            "grant_type=refresh_token&client_id={}&client_secret={}&refresh_token={}",
            organisation.client_id(),
            organisation.client_secret(),
            organisation.refresh_token()
        );
        self.token_call(&form).await
    }

    /// `POST /oauth/v2/token` at the accounts server of the United States.
    async fn token_call(&self, form: &str) -> Answer {
        let request = Request::post("https://accounts.zoho.com/oauth/v2/token")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::full(form.to_owned()));
        send(&self.zoho, request.unwrap()).await.unwrap()
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder()
            .method(method)
            .uri(format!("https://www.zohoapis.com{path}"))
            .header(AUTHORIZATION, format!("Zoho-oauthtoken {}", self.token))
            .body(Body::full(body));
        send(&self.zoho, request.unwrap()).await.unwrap()
    }

    /// Uploads one file in multipart.
    async fn upload(&self, path: &str, name: &str, content: &[u8]) -> Answer {
        let mut body =
            format!("--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n")
                .into_bytes();
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n--b--\r\n");
        let request = Request::post(format!("https://www.zohoapis.com{path}"))
            .header(AUTHORIZATION, format!("Zoho-oauthtoken {}", self.token))
            .header(CONTENT_TYPE, "multipart/form-data; boundary=b")
            .body(Body::full(body));
        send(&self.zoho, request.unwrap()).await.unwrap()
    }

    /// The id of a new record.
    async fn create(&self, module: &str, record: Value) -> String {
        let created = self.call("POST", &format!("/crm/v8/{module}"), json!({ "data": [record] })).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.text());
        created.json()["data"][0]["details"]["id"].as_str().unwrap().to_owned()
    }

    async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, Value::Null).await
    }

    /// What the API tells of the count of a territory.
    async fn count(&self, territory: &str) -> Option<String> {
        let answer = self.get(COUNTS).await.json();
        let rows = answer["associated_users_count"].as_array().unwrap().clone();
        let row = rows.iter().find(|row| row["territory"]["name"] == territory)?;
        Some(row["count"].as_str().unwrap().to_owned())
    }
}

async fn send(zoho: &Emulator, request: Request<Body>) -> Result<Answer, TransportError> {
    let (head, body) = zoho.answer(request).await?.into_parts();
    let body = body.collect().await.map_err(TransportError::Broken)?.to_bytes();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

/// The shipped scenario with some keys changed.
fn scenario(keys: &str) -> Scenario {
    Scenario::parse(keys).unwrap()
}
