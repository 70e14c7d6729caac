//! What records are picked by: in bulk reads, queries and searches.

mod searched;

use std::cmp::Ordering;

use serde_json::Value;

use super::record::{Record, text};

/// What a record has to fulfil.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::emulator::crm) enum Criteria {
    All(Vec<Criteria>),
    Any(Vec<Criteria>),
    Field { name: String, comparator: Comparator, value: Value },
}

/// How a field's value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::emulator::crm) enum Comparator {
    Equal,
    NotEqual,
    In,
    NotIn,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Contains,
    NotContains,
    StartsWith,
    EndsWith,
    Between,
    NotBetween,
    IsNull,
    IsNotNull,
}

impl Comparator {
    /// By the names that bulk reads and searches have for it.
    pub(in crate::emulator::crm) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "equal" | "equals" => Self::Equal,
            "not_equal" => Self::NotEqual,
            "in" => Self::In,
            "not_in" => Self::NotIn,
            "less_than" => Self::Less,
            "less_equal" => Self::LessEqual,
            "greater_than" => Self::Greater,
            "greater_equal" => Self::GreaterEqual,
            "contains" => Self::Contains,
            "not_contains" => Self::NotContains,
            "starts_with" => Self::StartsWith,
            "ends_with" => Self::EndsWith,
            "between" => Self::Between,
            "not_between" => Self::NotBetween,
            _ => return None,
        })
    }

    fn holds(self, value: &Value, wanted: &Value) -> bool {
        let equal = |wanted: &Value| compare(value, wanted) == Some(Ordering::Equal);
        let is = |orders: &[Ordering]| compare(value, wanted).is_some_and(|order| orders.contains(&order));
        let pair = || Some((wanted.get(0)?, wanted.get(1)?));
        let between = || {
            pair().is_some_and(|(low, high)| {
                compare(value, low).is_some_and(Ordering::is_ge)
                    && compare(value, high).is_some_and(Ordering::is_le)
            })
        };
        let (text, part) = (text(value).to_lowercase(), self::text(wanted).to_lowercase());
        match self {
            Self::Equal => equal(wanted),
            Self::NotEqual => !equal(wanted),
            Self::In => wanted.as_array().into_iter().flatten().any(equal),
            Self::NotIn => !wanted.as_array().into_iter().flatten().any(equal),
            Self::Less => is(&[Ordering::Less]),
            Self::LessEqual => is(&[Ordering::Less, Ordering::Equal]),
            Self::Greater => is(&[Ordering::Greater]),
            Self::GreaterEqual => is(&[Ordering::Greater, Ordering::Equal]),
            Self::Contains => text.contains(&part),
            Self::NotContains => !text.contains(&part),
            Self::StartsWith => text.starts_with(&part),
            Self::EndsWith => text.ends_with(&part),
            Self::Between => between(),
            Self::NotBetween => !between(),
            Self::IsNull => text.is_empty(),
            Self::IsNotNull => !text.is_empty(),
        }
    }
}

impl Criteria {
    /// Reads what a bulk read has: a field with comparator and value, or a group of such.
    pub(in crate::emulator::crm) fn of_json(json: &Value) -> Option<Self> {
        if let Some(group) = json.get("group").and_then(Value::as_array) {
            let group = group.iter().map(Self::of_json).collect::<Option<_>>()?;
            return match json.get("group_operator").and_then(Value::as_str)?.to_lowercase().as_str() {
                "and" => Some(Self::All(group)),
                "or" => Some(Self::Any(group)),
                _ => None,
            };
        }
        let name = json.get("field").and_then(|field| field.get("api_name")).or_else(|| json.get("api_name"));
        Some(Self::Field {
            name: name.and_then(Value::as_str)?.to_owned(),
            comparator: Comparator::named(json.get("comparator").and_then(Value::as_str)?)?,
            value: json.get("value").cloned()?,
        })
    }

    /// Reads what a search has: `((Field:equals:value)and(…))`.
    pub(in crate::emulator::crm) fn of_search(text: &str) -> Option<Self> {
        searched::read(text)
    }

    pub(in crate::emulator::crm) fn holds(&self, id: &str, record: &Record) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.holds(id, record)),
            Self::Any(any) => any.iter().any(|one| one.holds(id, record)),
            Self::Field { name, comparator, value } => comparator.holds(&record.value(id, name), value),
        }
    }

    /// The fields that it is about.
    pub(in crate::emulator::crm) fn fields(&self) -> Vec<&str> {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::fields).collect(),
            Self::Field { name, .. } => vec![name],
        }
    }
}

/// How two values are ordered: as numbers if both are, else as text in any case. What has an id is that id.
/// A value that is not there is in no order with another.
pub(in crate::emulator::crm) fn compare(one: &Value, other: &Value) -> Option<Ordering> {
    let (one, other) = (text(one), text(other));
    // Ids have more digits than a floating-point number keeps.
    if let (Ok(one), Ok(other)) = (one.parse::<i128>(), other.parse::<i128>()) {
        return Some(one.cmp(&other));
    }
    if let (Ok(one), Ok(other)) = (one.parse::<f64>(), other.parse::<f64>()) {
        return one.partial_cmp(&other);
    }
    (one.is_empty() == other.is_empty()).then(|| one.to_lowercase().cmp(&other.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use serde_json::json;

    use super::*;

    fn doe() -> Record {
        let values = json!({ "Last_Name": "Doe", "Amount": 250, "Owner": { "id": "7", "name": "Ada" } });
        let now = SystemTime::UNIX_EPOCH;
        Record { values: values.as_object().unwrap().clone(), created: now, modified: now }
    }

    #[test]
    fn a_record_is_picked_by_each_comparator_that_bulk_reads_have() {
        for (field, comparator, value, holds) in [
            ("Last_Name", "equal", json!("doe"), true),
            ("Last_Name", "not_equal", json!("doe"), false),
            ("Last_Name", "in", json!(["Roe", "Doe"]), true),
            ("Last_Name", "not_in", json!(["Roe", "Doe"]), false),
            ("Last_Name", "contains", json!("O"), true),
            ("Last_Name", "not_contains", json!("x"), true),
            ("Last_Name", "starts_with", json!("Do"), true),
            ("Last_Name", "ends_with", json!("Do"), false),
            ("Amount", "less_than", json!(1000), true),
            ("Amount", "greater_equal", json!("250"), true),
            ("Amount", "greater_than", json!(250), false),
            ("Amount", "less_equal", json!(250), true),
            ("Amount", "between", json!([100, 300]), true),
            ("Amount", "not_between", json!([100, 300]), false),
            ("Owner", "equal", json!("7"), true),
            ("id", "equal", json!("600000001000000099"), true),
            ("id", "equal", json!("600000001000000098"), false),
            ("Phone", "less_than", json!("1"), false),
        ] {
            let criteria =
                json!({ "field": { "api_name": field }, "comparator": comparator, "value": value });
            let criteria = Criteria::of_json(&criteria).unwrap();
            assert_eq!(criteria.holds("600000001000000099", &doe()), holds, "{criteria:?}");
        }
    }

    #[test]
    fn groups_are_all_or_any() {
        let one = |value: &str| json!({ "api_name": "Last_Name", "comparator": "equal", "value": value });
        let group = |operator: &str| json!({ "group_operator": operator, "group": [one("Doe"), one("Roe")] });
        assert!(Criteria::of_json(&group("or")).unwrap().holds("1", &doe()));
        assert!(!Criteria::of_json(&group("AND")).unwrap().holds("1", &doe()));
        assert_eq!(Criteria::of_json(&group("xor")), None);
        assert_eq!(Criteria::of_json(&json!({ "api_name": "A", "comparator": "like", "value": 1 })), None);
    }
}
