//! Which of the instructions lock: they have the `lock` prefix, or exchange a register with memory, which locks
//! without one. Each costs some twenty cycles where nobody else wants the memory, and far more where cores take turns.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::profile::{Profile, per_request};

/// How many functions are listed.
const LISTED: usize = 20;

/// How often locked instructions ran, by function.
pub(crate) struct Locked {
    functions: Vec<(String, i64)>,
    requests: u64,
}

/// The locked ones among what ran for so many requests.
pub(crate) fn among(profile: &Profile, requests: u64) -> Locked {
    let mut locking: BTreeMap<&str, HashSet<u64>> = BTreeMap::new();
    let mut functions: BTreeMap<&str, i64> = BTreeMap::new();
    for (function, address, count) in profile.all().filter(|(function, ..)| function.object.starts_with('/'))
    {
        let object = &*function.object;
        let locks = locking.entry(object).or_insert_with(|| disassembled(object));
        if locks.contains(&address) {
            *functions.entry(&function.name).or_default() += count;
        }
    }
    let mut functions: Vec<_> = functions
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .filter(|(_, n)| *n != 0)
        .collect();
    functions.sort_by_key(|(_, count)| -count);
    Locked { functions, requests }
}

impl Locked {
    /// How many each request has.
    pub(crate) fn total(&self) -> u64 {
        per_request(self.functions.iter().map(|(_, count)| count).sum(), self.requests)
    }
}

impl fmt::Display for Locked {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests = i64::try_from(self.requests).map_err(|_| fmt::Error)?;
        for (name, count) in self.functions.iter().take(LISTED) {
            let hundredths = count * 100 / requests;
            writeln!(to, "{:>4}.{:02}  {name}", hundredths / 100, hundredths % 100)?;
        }
        Ok(())
    }
}

/// The addresses in a file whose instructions lock.
fn disassembled(object: &str) -> HashSet<u64> {
    let mut objdump = Command::new("objdump")
        .args(["--disassemble", "--no-show-raw-insn", object])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("objdump: {error}"));
    let lines = BufReader::new(objdump.stdout.take().unwrap()).split(b'\n').map(Result::unwrap);
    let locking = lines.filter_map(|line| locks(&String::from_utf8_lossy(&line))).collect();
    assert!(objdump.wait().unwrap().success(), "objdump cannot read {object}");
    locking
}

/// The address of an instruction, `  ADDRESS:\tWORDS`, if it locks.
fn locks(line: &str) -> Option<u64> {
    let (address, words) = line.split_once(":\t")?;
    let swaps_with_memory = words.starts_with("xchg") && words.contains('(');
    let locks = swaps_with_memory || words.split(' ').any(|word| word == "lock");
    locks.then(|| u64::from_str_radix(address.trim(), 16).ok()).flatten()
}

#[test]
fn an_instruction_locks_by_its_prefix_or_by_swapping_with_memory() {
    for (line, address) in [
        ("  2eabfd:\tlock incq 0xb8(%rbx)", Some(0x2e_abfd)),
        ("  2eabfd:\tcs lock xadd %rax,(%rdi)", Some(0x2e_abfd)),
        ("  2eac0a:\txchg   %rax,0xa8(%rbx)", Some(0x2e_ac0a)),
        ("  2e878e:\txchg   %ax,%ax", None),
        ("  2e878e:\tcall   2e8000 <lock_it>", None),
        ("0000000000002e87 <lock>:", None),
    ] {
        assert_eq!(locks(line), address, "{line}");
    }
}
