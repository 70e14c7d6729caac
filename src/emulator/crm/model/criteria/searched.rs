//! The criteria of a search: `(Field:equals:value)`, or a group as `((…)and(…))`.

use serde_json::Value;

use super::{Comparator, Criteria};

/// How deep groups may lie in each other.
const DEEPEST: usize = 25;

/// Reads the criteria of a search; `None` if they cannot be understood.
pub(super) fn read(text: &str) -> Option<Criteria> {
    let (criteria, rest) = group(text.trim(), 0)?;
    rest.is_empty().then_some(criteria)
}

/// Parts that are joined by `and`, or by `or`; and what follows.
fn group(text: &str, depth: usize) -> Option<(Criteria, &str)> {
    let (first, mut rest) = part(text, depth)?;
    let word = if rest.starts_with("or") { "or" } else { "and" };
    let mut parts = vec![first];
    while let Some(next) = rest.strip_prefix(word) {
        let (part, after) = part(next.trim_start(), depth)?;
        parts.push(part);
        rest = after;
    }
    let criteria = match (parts.len(), word) {
        (1, _) => parts.remove(0),
        (_, "or") => Criteria::Any(parts),
        _ => Criteria::All(parts),
    };
    Some((criteria, rest))
}

/// One field or a group, in brackets; and what follows, without spaces.
fn part(text: &str, depth: usize) -> Option<(Criteria, &str)> {
    let inner = text.strip_prefix('(')?.trim_start();
    let (criteria, rest) = if inner.starts_with('(') {
        group(inner, depth.checked_add(1).filter(|depth| *depth < DEEPEST)?)?
    } else {
        field(inner)?
    };
    Some((criteria, rest.strip_prefix(')')?.trim_start()))
}

fn field(text: &str) -> Option<(Criteria, &str)> {
    let mut pieces = text.splitn(3, ':');
    let (name, comparator) = (pieces.next()?, Comparator::named(pieces.next()?)?);
    let (values, rest) = values(pieces.next()?)?;
    let is_list = matches!(
        comparator,
        Comparator::In | Comparator::NotIn | Comparator::Between | Comparator::NotBetween
    );
    let value = if is_list { Value::from(values) } else { Value::from(values.join(",")) };
    Some((Criteria::Field { name: name.to_owned(), comparator, value }, rest))
}

/// The values up to the bracket that ends them. A backslash takes the meaning from the next character.
fn values(text: &str) -> Option<(Vec<String>, &str)> {
    let mut values = vec![String::new()];
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            ')' => return Some((values, &text[at..])),
            ',' => values.push(String::new()),
            '\\' => values.last_mut()?.push(characters.next()?.1),
            other => values.last_mut()?.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(name: &str, value: &str) -> Criteria {
        Criteria::Field { name: name.to_owned(), comparator: Comparator::Equal, value: Value::from(value) }
    }

    #[test]
    fn fields_and_groups_are_read() {
        assert_eq!(read("(A:equals:b)"), Some(is("A", "b")));
        assert_eq!(read("((A:equals:b))"), Some(is("A", "b")));
        assert_eq!(read("(A:equals:10:30)"), Some(is("A", "10:30")));
        assert_eq!(read("(A:equals:x\\)y,z)"), Some(is("A", "x)y,z")));
        let both = Criteria::All(vec![is("A", "b"), Criteria::Any(vec![is("C", "d"), is("E", "f")])]);
        assert_eq!(read("((A:equals:b) and ((C:equals:d)or(E:equals:f)))"), Some(both));
        let list = Criteria::Field {
            name: "A".to_owned(),
            comparator: Comparator::In,
            value: Value::from(vec!["b", "c"]),
        };
        assert_eq!(read("(A:in:b,c)"), Some(list));
    }

    #[test]
    fn what_is_not_understood_is_none() {
        let deep = format!("{}A:equals:b{}", "(".repeat(1000), ")".repeat(1000));
        for text in [
            "",
            "A:equals:b",
            "(A:equals:b",
            "(A:like:b)",
            "(A)",
            "((A:equals:b)and)",
            "(A:equals:b)x",
            &deep,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
