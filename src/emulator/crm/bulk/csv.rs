//! Comma-separated values (RFC 4180).

/// Lines of values as text.
pub(super) fn write(rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = String::new();
    for row in rows {
        let values: Vec<String> = row.iter().map(|value| quoted(value)).collect();
        text.push_str(&values.join(","));
        text.push('\n');
    }
    text
}

fn quoted(value: &str) -> String {
    if value.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.to_owned()
    }
}

/// The lines of a text, each with its values. A line without any value is none.
pub(super) fn read(text: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let (mut row, mut value, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if is_quoted && characters.next_if_eq(&'"').is_some() => value.push('"'),
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => row.push(std::mem::take(&mut value)),
            '\r' if !is_quoted => {}
            '\n' if !is_quoted => end(&mut rows, &mut row, &mut value),
            other => value.push(other),
        }
    }
    end(&mut rows, &mut row, &mut value);
    rows
}

fn end(rows: &mut Vec<Vec<String>>, row: &mut Vec<String>, value: &mut String) {
    if !(row.is_empty() && value.is_empty()) {
        row.push(std::mem::take(value));
        rows.push(std::mem::take(row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_commas_quotes_and_line_ends_come_back_as_they_were() {
        let rows = vec![
            vec!["Id".to_owned(), "Last_Name".to_owned()],
            vec!["1".to_owned(), "Doe, \"Jane\"\r\nof Acme".to_owned()],
            vec![String::new(), "ü".to_owned()],
        ];
        assert_eq!(read(&write(rows.clone().into_iter())), rows);
    }

    #[test]
    fn lines_end_as_on_any_machine_and_the_last_need_not() {
        assert_eq!(read("a,b\r\n\r\n1,2"), [["a", "b"], ["1", "2"]]);
        assert_eq!(read(""), Vec::<Vec<String>>::new());
    }
}
