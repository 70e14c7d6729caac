//! Reading Rust as text, as far as the rules of the house need it: what is code, what is a test, and which
//! rooms a file names.

use std::path::{Path, PathBuf};

/// A file under `src/`.
pub(crate) struct Source {
    /// Its path below `src/`, as in `cache/key.rs`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A room that a file names, and the line where it does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Import {
    pub(crate) room: String,
    pub(crate) line: usize,
}

/// All of `src/`, in the order of the paths.
pub(crate) fn house() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    files.iter().map(|file| source(&root, file)).collect()
}

fn source(root: &Path, file: &Path) -> Source {
    let path = file.strip_prefix(root).expect("it was found below the root");
    let text = std::fs::read_to_string(file).expect("sources are readable text");
    Source { path: path.to_string_lossy().replace('\\', "/"), text }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("src can be listed") {
        let path = entry.expect("src can be listed").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

impl Source {
    /// The room it belongs to: the first part of its path.
    pub(crate) fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// The names in its path, without the ending.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').map(|part| part.strip_suffix(".rs").unwrap_or(part))
    }

    /// How many lines it has.
    pub(crate) fn lines(&self) -> usize {
        self.text.lines().count()
    }

    /// The text with blanks for comments, literals and what exists for tests only. Lines stay where they are.
    pub(crate) fn code(&self) -> String {
        without_tests(&without_literals(&self.text))
    }

    /// The paths, below `src/`, of modules that it declares for tests only: each may be a file or a folder.
    pub(crate) fn test_modules(&self) -> Vec<String> {
        let code = without_literals(&self.text);
        let folder = match self.path.strip_suffix("mod.rs") {
            Some(folder) => folder.to_owned(),
            None => format!("{}/", self.path.trim_end_matches(".rs")),
        };
        let declared = test_items(&code).into_iter().filter_map(|(start, end)| {
            let item = code[start..end].strip_suffix(';')?;
            let (_, name) = item.rsplit_once("mod ")?;
            Some(format!("{folder}{}", name.trim()))
        });
        declared.collect()
    }

    /// The rooms that its code names by a path from the crate's root, once per mention.
    pub(crate) fn imports(&self) -> Vec<Import> {
        let code = self.code();
        let up = "super::".repeat(self.depth());
        let roots = ["crate::", "zoho_sidecar::", up.as_str()];
        let mut imports: Vec<Import> = roots.iter().flat_map(|root| named_after(&code, root)).collect();
        imports.sort_by_key(|import| import.line);
        imports
    }

    /// The modules of its own folder, and of those above it below the root, that its code names: the folder, the module
    /// in it to which this file belongs, and the name.
    pub(crate) fn neighbours(&self) -> Vec<(String, String, String)> {
        let code = self.code();
        let parts: Vec<&str> = self.module().collect();
        let mut found = Vec::new();
        for depth in 1..parts.len() {
            let folder = parts[..depth].join("/");
            let ways =
                ["super::".repeat(parts.len() - depth), format!("crate::{}::", parts[..depth].join("::"))];
            let named = ways.iter().flat_map(|way| named_after(&code, way));
            found.extend(named.map(|import| (folder.clone(), parts[depth].to_owned(), import.room)));
        }
        found
    }

    /// How many steps up from its module the crate's root is.
    fn depth(&self) -> usize {
        self.module().count()
    }

    /// The names in its module's path.
    fn module(&self) -> impl Iterator<Item = &str> {
        self.names().filter(|name| *name != "mod")
    }
}

/// What follows each mention of a root: a name, or the first names of a group.
fn named_after(code: &str, root: &str) -> Vec<Import> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(root) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| is_name(c) || c == ':') {
            continue;
        }
        let after = at + root.len();
        for (offset, room) in first_names(&code[after..]) {
            let line = code[..after + offset].matches('\n').count() + 1;
            // One step up too many is no path from the root.
            if room != "super" && room != "self" {
                found.push(Import { room, line });
            }
        }
    }
    found
}

/// The first name of a path, or of each path in a group, and where it begins.
fn first_names(text: &str) -> Vec<(usize, String)> {
    let start = text.len() - text.trim_start().len();
    if !text[start..].starts_with('{') {
        return name_at(text, start).into_iter().collect();
    }
    let mut names = Vec::new();
    let mut depth = 0;
    for (at, c) in text.char_indices().skip_while(|(at, _)| *at < start) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(c, '{' | ',') {
            let rest = &text[at + 1..];
            let begin = at + 1 + rest.len() - rest.trim_start().len();
            names.extend(name_at(text, begin));
        }
    }
    names
}

fn name_at(text: &str, start: usize) -> Option<(usize, String)> {
    let rest = &text[start..];
    let name =
        if rest.starts_with('*') { "*" } else { &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())] };
    (!name.is_empty()).then(|| (start, name.to_owned()))
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Blanks comments, texts and characters.
fn without_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let length = literal(rest, code.chars().next_back());
        let taken = if length == 0 { rest.chars().next().map_or(0, char::len_utf8) } else { length };
        let (piece, after) = rest.split_at(taken);
        if length == 0 {
            code.push_str(piece);
        } else {
            blank(piece, &mut code);
        }
        rest = after;
    }
    code
}

/// How many bytes of a comment or literal a text begins with; 0 if it begins with code.
fn literal(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    if rest.starts_with('r') && !before.is_some_and(|c| is_name(c) && c != 'b' && c != 'c') {
        return raw_text(rest);
    }
    if let Some(inner) = rest.strip_prefix('\'') {
        // 'a and 'static are lifetimes, 'a' and '\'' are characters.
        let closed = inner.chars().nth(1) == Some('\'');
        return if inner.starts_with('\\') || closed { quoted(rest, '\'') } else { 0 };
    }
    0
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    for (at, _) in rest.char_indices() {
        if rest[at..].starts_with("/*") {
            depth += 1;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            if depth == 0 {
                return at + 2;
            }
        }
    }
    rest.len()
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_text(rest: &str) -> usize {
    let hashes = rest[1..].bytes().take_while(|b| *b == b'#').count();
    let Some(inner) = rest[1 + hashes..].strip_prefix('"') else { return 0 };
    let end = format!("\"{}", "#".repeat(hashes));
    inner.find(&end).map_or(rest.len(), |at| 2 + hashes + at + end.len())
}

/// Blanks what `#[cfg(test)]` stands before.
fn without_tests(code: &str) -> String {
    let mut kept = String::with_capacity(code.len());
    let mut from = 0;
    for (start, end) in test_items(code) {
        if start < from {
            continue; // inside the one before
        }
        kept.push_str(&code[from..start]);
        blank(&code[start..end], &mut kept);
        from = end;
    }
    kept.push_str(&code[from..]);
    kept
}

/// Where items for tests only begin and end, their attribute included.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let starts = code.match_indices("#[cfg(test)]").map(|(at, _)| at);
    starts.map(|start| (start, start + item_length(&code[start..]))).collect()
}

/// Up to the item's semicolon, or the end of its braces.
fn item_length(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

fn blank(piece: &str, onto: &mut String) {
    onto.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
}
