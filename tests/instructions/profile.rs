//! What callgrind wrote: how often each instruction ran.

use std::collections::BTreeMap;

/// Instructions that ran, by function and address.
#[derive(Debug, Default)]
pub(crate) struct Profile(BTreeMap<Function, BTreeMap<u64, i64>>);

/// A function, and the file that it is in: the executable, or a library.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Function {
    pub(crate) object: String,
    pub(crate) name: String,
}

impl Profile {
    /// Reads callgrind's format, with neither positions nor names compressed.
    pub(crate) fn parse(text: &str) -> Self {
        let mut profile = Self::default();
        let mut function = Function { object: String::new(), name: String::new() };
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(object) = line.strip_prefix("ob=") {
                object.clone_into(&mut function.object);
            } else if let Some(name) = line.strip_prefix("fn=") {
                name.clone_into(&mut function.name);
            } else if line.starts_with("calls=") {
                // What was called has lines of its own.
                lines.next();
            } else if let Some((address, count)) = cost(line) {
                let of_it = profile.0.entry(function.clone()).or_default();
                *of_it.entry(address).or_default() += count;
            }
        }
        profile
    }

    /// What ran here and not there.
    pub(crate) fn less(mut self, other: &Self) -> Self {
        for (function, addresses) in &other.0 {
            let of_it = self.0.entry(function.clone()).or_default();
            for (address, count) in addresses {
                *of_it.entry(*address).or_default() -= count;
            }
        }
        self.0.retain(|function, _| !is_left_to_chance(&function.name));
        self
    }

    /// How many instructions that is for each of so many requests.
    pub(crate) fn instructions_per(&self, requests: u64) -> u64 {
        per_request(self.all().map(|(.., count)| count).sum(), requests)
    }

    /// All instructions and how often they ran.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Function, u64, i64)> {
        let of_one = |(function, addresses): (_, &'_ BTreeMap<u64, i64>)| {
            addresses.iter().map(move |(address, count)| (function, *address, *count)).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of_one)
    }
}

/// A share, to the nearest.
pub(crate) fn per_request(count: i64, requests: u64) -> u64 {
    u64::try_from(count).unwrap_or_default().saturating_add(requests / 2) / requests
}

/// `0xADDRESS LINE COUNT`.
fn cost(line: &str) -> Option<(u64, i64)> {
    let mut words = line.strip_prefix("0x")?.split(' ');
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    Some((address, words.nth(1)?.parse().ok()?))
}

/// Whether it is part of what gathers randomness when a thread first wants some (`jitterentropy` in aws-lc). It
/// measures how unevenly the processor runs, and takes as long as that takes: half a million instructions more or
/// less at each start, and none at a request.
fn is_left_to_chance(function: &str) -> bool {
    const BESIDE_ITS_OWN: [&str; 5] =
        ["rol64", "uint32rotl", "xoshiro128starstar", "ptr_to_le32", "ptr_to_le64"];
    function.starts_with("jent_") || BESIDE_ITS_OWN.contains(&function)
}

const SAMPLE: &str = "\
# callgrind format
positions: instr line
events: Ir
ob=/usr/bin/one
fl=???
fn=first
0x10 0 7
0x14 0 7
cfn=second
calls=7 0x20
0x14 0 700
fn=jent_measure
0x30 0 99
ob=/lib/libc.so.6
fn=first
0x10 0 1
";

#[test]
fn what_a_function_called_counts_as_its_own() {
    let profile = Profile::parse(SAMPLE);
    let all: Vec<_> =
        profile.all().map(|(function, address, count)| (&*function.object, address, count)).collect();
    assert_eq!(
        all,
        [
            ("/lib/libc.so.6", 0x10, 1),
            ("/usr/bin/one", 0x10, 7),
            ("/usr/bin/one", 0x14, 7),
            ("/usr/bin/one", 0x30, 99)
        ]
    );
}

#[test]
fn what_is_left_to_chance_is_left_out_of_a_difference() {
    let many = Profile::parse(SAMPLE).less(&Profile::default());
    assert_eq!((many.instructions_per(1), many.instructions_per(2)), (15, 8));
    assert_eq!(Profile::parse(SAMPLE).less(&Profile::parse(SAMPLE)).instructions_per(1), 0);
}
