//! Queries (COQL) as a caller meets them.

use super::*;

impl Program {
    async fn query(&self, query: &str) -> Answer {
        self.call("POST", "/crm/v8/coql", json!({ "select_query": query })).await
    }
}

async fn with_deals() -> Program {
    let program = Program::shipped().await;
    for (name, stage, amount) in [("Alpha", "Won", 100), ("Beta", "Lost", 2_000), ("Gamma", "Won", 30)] {
        program.create("Deals", json!({ "Deal_Name": name, "Stage": stage, "Amount": amount })).await;
    }
    program
}

#[tokio::test]
async fn a_query_picks_sorts_and_pages() {
    let program = with_deals().await;
    for (query, names, more) in [
        ("select Deal_Name from Deals where Stage = 'won' order by Amount", vec!["Gamma", "Alpha"], false),
        ("select Deal_Name from Deals where Amount >= 100 order by Amount desc limit 1", vec!["Beta"], true),
        (
            "select Deal_Name from Deals where id is not null order by Amount limit 1, 5",
            vec!["Alpha", "Beta"],
            false,
        ),
        (
            "select Deal_Name from Deals where Deal_Name like '%am%' or Amount in (100)",
            vec!["Alpha", "Gamma"],
            false,
        ),
        ("select Deal_Name from Deals where (Stage != 'Won' and Closing_Date is null)", vec!["Beta"], false),
    ] {
        let found = program.query(query).await.json();
        let told: Vec<&str> =
            found["data"].as_array().unwrap().iter().map(|row| row["Deal_Name"].as_str().unwrap()).collect();
        assert_eq!(told, names, "{query}");
        assert_eq!(found["info"], json!({ "count": names.len(), "more_records": more }), "{query}");
        assert!(found["data"][0]["id"].is_string());
    }
    assert_eq!(program.query("select id from Deals where Stage = 'x'").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_query_that_cannot_be_answered_says_why() {
    let program = with_deals().await;
    for (query, code) in [
        ("select Deal_Name from Deals", "SYNTAX_ERROR"),
        ("delete from Deals", "SYNTAX_ERROR"),
        ("select No from Deals where id is not null", "INVALID_QUERY"),
        ("select id from No where id is not null", "INVALID_QUERY"),
        ("select id from Deals where id is not null limit 2001", "LIMIT_EXCEEDED"),
    ] {
        let answer = program.query(query).await;
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (StatusCode::BAD_REQUEST, &json!(code)),
            "{query}"
        );
    }
    let empty = program.call("POST", "/crm/v8/coql", json!({})).await;
    assert_eq!(empty.json()["code"], "MANDATORY_NOT_FOUND");
    assert_eq!(program.get("/crm/v8/coql").await.json()["code"], "INVALID_REQUEST_METHOD");
}
