//! The operations, and a realistic request and answer for each.

use std::io::Read;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzEncoder;

use crate::exchange::{Headers, Message};

/// The versions of the API that every operation is sent in.
pub(crate) const VERSIONS: [&str; 4] = ["v2", "v2.1", "v5", "v8"];

/// How many operations there are in the SDK for v5.
const OF_V5: usize = 297;
/// How many more its SDK for v8 has, and how many only the documentation has.
const OF_V8_AND_DOCS: usize = 137;

/// Queries as clients write them. A proxy that decodes and encodes again breaks each of them.
const QUERIES: [&str; 9] = [
    "",
    "?",
    "?filters=%7B%22field%22%3A%7B%22api_name%22%3A%22Name%22%7D%7D&per_page=200&page=1",
    "?fields=Last_Name,Email,Owner.id&page_token=3c0a+b/c%2Fd==&",
    "?criteria=((Last_Name:equals:O'Neil%5C,)and(Company:starts_with:A%26B))&converted=both",
    "?ids=1,2,3&wf_trigger=&trigger",
    "?a=1&&b==c&%61=1;d",
    "?word=%C3%BC+x%2B1&next=%2Fcrm%2Fv5%2FLeads%3Fa%3Db",
    "?attachmentUrl=https://acme.example/terms?x=1&title=a%20b",
];

/// Content types of files, beside those that the table names.
const OF_FILES: [&str; 8] = [
    "application/x-download;charset=UTF-8",
    "application/octet-stream",
    "application/zip",
    "application/pdf",
    "image/jpeg",
    "text/csv;charset=utf-8",
    "text/html;charset=UTF-8",
    "application/vnd.ms-excel",
];

const JSON: &str = "application/json;charset=UTF-8";

/// One line of the table.
pub(crate) struct Operation {
    pub(crate) number: usize,
    pub(crate) since: String,
    method: String,
    path: String,
    body: String,
    answer: String,
}

/// All lines of the table.
pub(crate) fn operations() -> Vec<Operation> {
    let lines = include_str!("table.tsv").lines().filter(|line| !line.starts_with('#'));
    let operation = |(number, line): (usize, &str)| {
        let columns: Vec<String> = line.split('\t').map(str::to_owned).collect();
        let [since, _group, method, path, body, answer] = columns.try_into().unwrap();
        Operation { number, since, method, path, body, answer }
    };
    lines.enumerate().map(operation).collect()
}

impl Operation {
    /// Whether it belongs on the host for uploads.
    pub(crate) fn is_for_uploads(&self) -> bool {
        self.path.starts_with("uploads:")
    }

    /// Method and path, whatever the names in braces.
    pub(crate) fn shape(&self) -> String {
        shape(&format!("{} {}", self.method, self.path))
    }

    /// Whether the answer is a file.
    fn is_download(&self) -> bool {
        self.answer != "application/json"
    }

    /// What a caller sends, in a version of the API.
    pub(crate) fn request(&self, version: &str) -> Message {
        let turn = self.turn(version);
        let path = self.filled(version);
        let query = QUERIES[turn % QUERIES.len()];
        let body = match self.body.as_str() {
            "json" => json(turn),
            "multipart" => multipart(turn),
            _ => Bytes::new(),
        };
        let headers = self.headers(turn, &body.len().to_string());
        Message { start: format!("{} {path}{query}", self.method), headers, body }
    }

    /// The headers of a caller; those that the official SDKs send, and more.
    fn headers(&self, turn: usize, length: &str) -> Headers {
        let mut headers = vec![("host", "sidecar:8080"), ("user-agent", "python-requests/2.32.3")];
        headers.extend([("accept-encoding", "gzip, deflate"), ("accept", "*/*")]);
        headers.push(("authorization", "Zoho-oauthtoken made-up-of-the-caller"));
        headers.push(("x-zoho-sdk", "Linux/6.1/python-5.0/3.11:2.0.0"));
        match self.body.as_str() {
            "multipart" => headers.push(("content-type", "multipart/form-data; boundary=\"b 1\"")),
            // The official SDKs leave it out, except for bulk jobs.
            "json" if turn.is_multiple_of(2) || self.path.contains("/bulk/") => {
                headers.push(("content-type", "application/json"));
            }
            _ => {}
        }
        if self.path.contains("{external") {
            headers.push(("x-external", "Leads.Number,Products.Article_No"));
        }
        if self.is_for_uploads() {
            headers.extend([("feature", "bulk-write"), ("x-crm-org", "600000001")]);
        }
        if self.is_since(turn) {
            headers.push(("if-modified-since", "2019-07-25T15:26:49+05:30"));
        }
        if turn.is_multiple_of(5) {
            headers.extend([("cookie", "crmcsr=made-up"), ("connection", "keep-alive")]);
        }
        if turn.is_multiple_of(7) {
            headers.extend([("x-twice", "1"), ("x-twice", "2, 3"), ("accept-language", "de-CH, de;q=0.9")]);
        }
        // The SDKs send it with GET and DELETE too.
        if self.body != "-" || self.method != "GET" || turn.is_multiple_of(2) {
            headers.push(("content-length", length));
        }
        owned(&headers)
    }

    /// The same in a form that may be answered from a cache: no condition, nothing of its own.
    pub(crate) fn plain_request(&self, version: &str) -> Message {
        let mut request = self.request(version);
        request.headers.retain(|(name, _)| name != "if-modified-since");
        request
    }

    /// What Zoho answers.
    pub(crate) fn answer(&self, version: &str) -> Message {
        let turn = self.turn(version);
        let status = match (self.method.as_str(), turn % 8) {
            (_, 0) => 400,
            ("GET", 1) if self.is_since(turn) => 304,
            ("GET", 2) => 204,
            ("GET", _) => 200,
            (_, 1) => 201,
            (_, 2) => 202,
            (_, 3) => 207,
            (_, 4) => 204,
            _ => 200,
        };
        let mut answer = self.ok_answer(version);
        answer.start = status.to_string();
        if status == 204 || status == 304 {
            answer.body = Bytes::new();
            answer
                .headers
                .retain(|(name, _)| !["content-length", "content-encoding"].contains(&name.as_str()));
        }
        answer
    }

    /// What Zoho answers when all is well.
    pub(crate) fn ok_answer(&self, version: &str) -> Message {
        let turn = self.turn(version);
        let is_file = self.is_download();
        let content_type = match (is_file, turn % 2) {
            (false, _) => JSON,
            (true, 0) => &self.answer,
            (true, _) => OF_FILES[turn / 2 % OF_FILES.len()],
        };
        let is_coded = turn % 6 == 5;
        let body = if is_file { file(turn) } else { json(turn + 1) };
        let body = if is_coded { gzip(&body) } else { body };
        let disposition = if is_file {
            "attachment; filename*=UTF-8''a%20%C3%BC.bin"
        } else {
            "attachment; filename=response.json"
        };
        let length = body.len().to_string();
        let mut headers = owned(&[
            ("server", "ZGS"),
            ("date", "Tue, 24 Nov 2026 10:00:00 GMT"),
            ("content-type", content_type),
            ("content-length", &length),
            ("set-cookie", "zalb_941ef25d4b=made-up; Path=/"),
            ("set-cookie", "crmcsr=made-up;path=/;SameSite=None;Secure;priority=high"),
            ("content-disposition", disposition),
            ("cache-control", "no-store, no-cache, must-revalidate, private"),
            ("pragma", "no-cache"),
            ("expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("x-frame-options", "SAMEORIGIN"),
            ("x-accesstoken-reset", "2026-11-24T16:30:00+05:30"),
            ("clientversion", "6007735"),
            ("x-download-options", "noopen"),
            ("strict-transport-security", "max-age=63072000"),
            ("x-api-credits-remaining", "49000"),
        ]);
        if is_coded {
            headers.push(("content-encoding".to_owned(), "gzip".to_owned()));
        }
        if turn.is_multiple_of(3) {
            headers.extend(owned(&[("connection", "keep-alive"), ("x-twice", "1"), ("x-twice", "2")]));
        }
        Message { start: "200".to_owned(), headers, body }
    }

    /// Lets neighbours, and the same operation in another version, differ in query, headers and answer.
    fn turn(&self, version: &str) -> usize {
        self.number * 11 + VERSIONS.iter().position(|one| *one == version).unwrap() * 4
    }

    fn is_since(&self, turn: usize) -> bool {
        self.method == "GET" && !turn.is_multiple_of(3)
    }

    /// The path with a value for every name.
    fn filled(&self, version: &str) -> String {
        let mut pieces = self.path.strip_prefix("uploads:").unwrap_or(&self.path).split(['{', '}']);
        let mut path = pieces.next().unwrap().to_owned();
        while let (Some(name), Some(fixed)) = (pieces.next(), pieces.next()) {
            path.push_str(match name {
                "version" => version,
                "module" | "modulename" => "Leads",
                "external_field_value" | "external_value" => "N%207:%C3%BC%2B@1;x=(2),*",
                "related_list_api_name" => "Products",
                "api_name" | "module_name" | "feature_api_name" | "function_name" => "custom_name__c",
                "portal" | "portal_name" => "Acme%20Portal",
                "message_id" => "4a9fd0c0~b2%3D",
                "download_url" => "v2/crm/600000001/bulk-write/600000001000000007/a%20b.zip",
                _ => "600000001000000042",
            });
            path.push_str(fixed);
        }
        path
    }
}

/// A template, whatever the names in braces.
pub(crate) fn shape(template: &str) -> String {
    template.split(['{', '}']).step_by(2).collect::<Vec<_>>().join("{}")
}

/// JSON that nobody would write twice in the same way.
fn json(turn: usize) -> Bytes {
    let text =
        format!("{{ \"data\" :[{{\"n\":{turn}.0e0,\"t\":\"\\u00fc ü \\/ \\\"\",\"n\":null}}] }}\r\n\n");
    text.into()
}

fn multipart(turn: usize) -> Bytes {
    let mut body =
        b"--b 1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a \xc3\xbc.bin\"\r\n\r\n"
            .to_vec();
    body.extend_from_slice(&file(turn));
    body.extend_from_slice(b"\r\n--b 1--\r\n");
    body.into()
}

/// Every byte there is, shifted, with line ends and boundaries among them.
fn file(turn: usize) -> Bytes {
    (0..=255_u8).cycle().skip(turn % 256).take(700 + turn).collect()
}

fn owned(headers: &[(&str, &str)]) -> Headers {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn gzip(body: &[u8]) -> Bytes {
    let mut coded = Vec::new();
    GzEncoder::new(body, Compression::default()).read_to_end(&mut coded).unwrap();
    coded.into()
}

#[test]
fn the_table_has_every_operation_of_both_sdks() {
    let operations = operations();
    let of_v5: Vec<_> = operations.iter().filter(|operation| operation.since == "v5").collect();
    assert_eq!((of_v5.len(), operations.len() - of_v5.len()), (OF_V5, OF_V8_AND_DOCS));
    assert_eq!(operations.iter().filter(|operation| operation.is_for_uploads()).count(), 1);
    let mut alike: Vec<String> = of_v5.iter().map(|operation| operation.shape()).collect();
    alike.sort();
    alike.dedup();
    assert_eq!(alike.len(), 278, "pairs of method and path, whatever the names in braces");
}

#[test]
fn every_status_every_query_and_every_kind_of_body_occurs() {
    let all = || operations().into_iter().flat_map(|one| VERSIONS.map(|v| (one.request(v), one.answer(v))));
    for status in ["200", "201", "202", "204", "207", "304", "400"] {
        assert!(all().any(|(_, answer)| answer.start == status), "{status}");
    }
    for query in &QUERIES[1..] {
        assert!(all().any(|(request, _)| request.start.ends_with(query)), "{query}");
    }
    for content_type in OF_FILES {
        assert!(
            all().any(|(_, answer)| answer.header("content-type") == Some(content_type)),
            "{content_type}"
        );
    }
    let is_empty = |request: &Message, method: &str| {
        request.start.starts_with(method) && request.header("content-length") == Some("0")
    };
    for method in ["GET", "DELETE", "POST", "PUT"] {
        assert!(all().any(|(request, _)| is_empty(&request, method)), "{method} with Content-Length: 0");
    }
}
