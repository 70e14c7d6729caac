//! Reading a query: `select … from … where … [order by …] [limit …] [offset …]`.

use std::iter::Peekable;
use std::vec::IntoIter;

use serde_json::Value;

use super::{Mistake, Query, UNLESS_TOLD};
use crate::emulator::crm::model::criteria::{Comparator, Criteria};

/// How deep conditions may lie in brackets.
const DEEPEST: usize = 25;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A name, a keyword, a number, a time.
    Word(String),
    Text(String),
    Sign(String),
}

struct Reader(Peekable<IntoIter<Token>>);

impl Query {
    pub(super) fn parse(text: &str) -> Result<Self, Mistake> {
        let mut reader = Reader(tokens(text)?.into_iter().peekable());
        if !reader.keyword("select") {
            return Err(Mistake::Missing("select"));
        }
        let mut fields = vec![reader.word()?];
        while reader.sign(",") {
            fields.push(reader.word()?);
        }
        if !reader.keyword("from") {
            return Err(Mistake::Missing("from"));
        }
        let module = reader.word()?;
        if !reader.keyword("where") {
            return Err(Mistake::Missing("where"));
        }
        let criteria = reader.any(0)?;
        let order = reader.order()?;
        let (mut limit, mut offset) = (UNLESS_TOLD, 0);
        if reader.keyword("limit") {
            limit = reader.number()?;
            if reader.sign(",") {
                (offset, limit) = (limit, reader.number()?);
            }
        }
        if reader.keyword("offset") {
            offset = reader.number()?;
        }
        match reader.0.next() {
            None => Ok(Self { fields, module, criteria, order, limit, offset }),
            Some(token) => Err(token.unexpected()),
        }
    }
}

impl Reader {
    fn any(&mut self, depth: usize) -> Result<Criteria, Mistake> {
        let mut parts = vec![self.all(depth)?];
        while self.keyword("or") {
            parts.push(self.all(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Criteria::Any(parts) })
    }

    fn all(&mut self, depth: usize) -> Result<Criteria, Mistake> {
        let mut parts = vec![self.one(depth)?];
        while self.keyword("and") {
            parts.push(self.one(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Criteria::All(parts) })
    }

    fn one(&mut self, depth: usize) -> Result<Criteria, Mistake> {
        if self.sign("(") {
            if depth == DEEPEST {
                return Err(Mistake::Near("(".to_owned()));
            }
            let inner = self.any(depth + 1)?;
            return self.expect(")").map(|()| inner);
        }
        let name = self.word()?;
        let (comparator, value) = self.comparison()?;
        Ok(Criteria::Field { name, comparator, value })
    }

    fn comparison(&mut self) -> Result<(Comparator, Value), Mistake> {
        use Comparator as C;
        if self.keyword("is") {
            let not = self.keyword("not");
            let null = self.keyword("null");
            let comparator = if not { C::IsNotNull } else { C::IsNull };
            return if null { Ok((comparator, Value::Null)) } else { Err(self.unexpected()) };
        }
        for (sign, comparator) in [
            ("=", C::Equal),
            ("!=", C::NotEqual),
            ("<", C::Less),
            ("<=", C::LessEqual),
            (">", C::Greater),
            (">=", C::GreaterEqual),
        ] {
            if self.sign(sign) {
                return Ok((comparator, self.value()?));
            }
        }
        let not = self.keyword("not");
        if self.keyword("in") {
            return Ok((if not { C::NotIn } else { C::In }, self.list()?));
        }
        if self.keyword("between") {
            let low = self.value()?;
            let and = self.keyword("and");
            let high = if and { self.value()? } else { return Err(self.unexpected()) };
            return Ok((if not { C::NotBetween } else { C::Between }, Value::from(vec![low, high])));
        }
        if self.keyword("like") {
            return Ok(like(&self.word_or_text()?, not));
        }
        Err(self.unexpected())
    }

    fn list(&mut self) -> Result<Value, Mistake> {
        self.expect("(")?;
        let mut values = vec![self.value()?];
        while self.sign(",") {
            values.push(self.value()?);
        }
        self.expect(")").map(|()| Value::from(values))
    }

    fn order(&mut self) -> Result<Vec<(String, bool)>, Mistake> {
        let mut order = Vec::new();
        if !self.keyword("order") {
            return Ok(order);
        }
        if !self.keyword("by") {
            return Err(self.unexpected());
        }
        loop {
            let field = self.word()?;
            let downwards = self.keyword("desc");
            let _upwards = !downwards && self.keyword("asc");
            order.push((field, downwards));
            if !self.sign(",") {
                return Ok(order);
            }
        }
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let is_it = |token: &Token| matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        self.0.next_if(is_it).is_some()
    }

    fn sign(&mut self, sign: &str) -> bool {
        self.0.next_if(|token| matches!(token, Token::Sign(one) if one == sign)).is_some()
    }

    fn expect(&mut self, sign: &str) -> Result<(), Mistake> {
        if self.sign(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn word(&mut self) -> Result<String, Mistake> {
        match self.0.next() {
            Some(Token::Word(word)) => Ok(word),
            other => Err(other.map_or(Mistake::Near(String::new()), Token::unexpected)),
        }
    }

    fn word_or_text(&mut self) -> Result<String, Mistake> {
        match self.0.next() {
            Some(Token::Word(text) | Token::Text(text)) => Ok(text),
            other => Err(other.map_or(Mistake::Near(String::new()), Token::unexpected)),
        }
    }

    fn value(&mut self) -> Result<Value, Mistake> {
        self.word_or_text().map(Value::from)
    }

    fn number(&mut self) -> Result<usize, Mistake> {
        let word = self.word()?;
        word.parse().map_err(|_| Mistake::Near(word))
    }

    fn unexpected(&mut self) -> Mistake {
        self.0.next().map_or(Mistake::Near(String::new()), Token::unexpected)
    }
}

impl Token {
    fn unexpected(self) -> Mistake {
        let (Self::Word(text) | Self::Text(text) | Self::Sign(text)) = self;
        Mistake::Near(text)
    }
}

/// `%` at an end stands for anything; elsewhere it is not emulated.
fn like(pattern: &str, not: bool) -> (Comparator, Value) {
    use Comparator as C;
    let part = Value::from(pattern.trim_matches('%'));
    let comparator = match (pattern.starts_with('%'), pattern.ends_with('%'), not) {
        (_, _, true) => C::NotContains,
        (true, true, false) => C::Contains,
        (true, false, false) => C::EndsWith,
        (false, true, false) => C::StartsWith,
        (false, false, false) => C::Equal,
    };
    (comparator, part)
}

fn tokens(text: &str) -> Result<Vec<Token>, Mistake> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '\'' | '"' => quoted(rest, first).ok_or_else(|| Mistake::Near(rest.to_owned()))?,
            '=' | '(' | ')' | ',' => (Token::Sign(first.to_string()), 1),
            '<' | '>' | '!' => {
                let length = if rest[1..].starts_with('=') { 2 } else { 1 };
                (Token::Sign(rest[..length].to_owned()), length)
            }
            _ => {
                let is_end = |c: char| c.is_whitespace() || "'\"=(),<>!".contains(c);
                let length = rest.find(is_end).unwrap_or(rest.len());
                (Token::Word(rest[..length].to_owned()), length)
            }
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// A text in quotes, where a backslash takes the meaning from the next character; and how long it is.
fn quoted(rest: &str, quote: char) -> Option<(Token, usize)> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => text.push(characters.next()?.1),
            end if end == quote => return Some((Token::Text(text), at + end.len_utf8())),
            other => text.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clause_is_read() {
        let query = Query::parse(
            "select Last_Name, Account_Name.id from Leads where (Last_Name = 'O\\'Neil' or Email is not null) \
             and Amount between 1 and 2 order by Last_Name desc, id limit 10 offset 20",
        )
        .unwrap();
        assert_eq!(query.fields, ["Last_Name", "Account_Name.id"]);
        assert_eq!(query.order, [("Last_Name".to_owned(), true), ("id".to_owned(), false)]);
        assert_eq!((query.limit, query.offset), (10, 20));
        let Criteria::All(parts) = query.criteria else { panic!("{:?}", query.criteria) };
        assert!(matches!(&parts[0], Criteria::Any(any) if any.len() == 2));
        assert!(matches!(&parts[1], Criteria::Field { comparator: Comparator::Between, .. }));
        let other = Query::parse("SELECT id FROM Leads WHERE id in ('1','2') LIMIT 5, 50").unwrap();
        assert_eq!((other.limit, other.offset), (50, 5));
    }

    #[test]
    fn what_is_missing_or_wrong_is_told() {
        for (text, mistake) in [
            ("update Leads", Mistake::Missing("select")),
            ("select id Leads", Mistake::Missing("from")),
            ("select id from Leads", Mistake::Missing("where")),
            ("select id from Leads where id ~ 1", Mistake::Near("~".to_owned())),
            ("select id from Leads where id = 'open", Mistake::Near("'open".to_owned())),
            ("select id from Leads where id = 1 group by id", Mistake::Near("group".to_owned())),
            ("select id from Leads where (id = 1", Mistake::Near(String::new())),
        ] {
            assert_eq!(Query::parse(text), Err(mistake), "{text}");
        }
        let deep = format!("select id from Leads where {}id = 1{}", "(".repeat(1000), ")".repeat(1000));
        assert_eq!(Query::parse(&deep), Err(Mistake::Near("(".to_owned())));
    }
}
