//! Bytes that once broke something, or that reach far into what reads them: what must hold for all bytes
//! holds for these. The fuzzer looks for more of them, see `tests/fuzz/run.sh`.

#[expect(unreachable_pub, reason = "the crate of the fuzzer reaches them")]
#[path = "fuzz/properties/mod.rs"]
mod properties;

use std::path::{Path, PathBuf};

#[test]
fn every_property_holds_for_every_file_of_its_corpus() {
    for (name, hold) in properties::ALL {
        let files = corpus(name);
        assert!(!files.is_empty(), "the corpus of {name} is empty");
        let breaks = |file: &&PathBuf| {
            let bytes = std::fs::read(file).expect("a file that was listed can be read");
            std::panic::catch_unwind(|| hold(&bytes)).is_err()
        };
        assert_eq!(files.iter().filter(breaks).collect::<Vec<_>>(), Vec::<&PathBuf>::new(), "{name}");
    }
}

#[test]
fn every_folder_of_the_corpus_has_its_property() {
    let names: Vec<&str> = properties::ALL.iter().map(|(name, _)| *name).collect();
    let folders = std::fs::read_dir(folder()).expect("the corpus can be listed");
    for folder in folders {
        let name = folder.expect("the corpus can be listed").file_name();
        assert!(names.iter().any(|known| name == *known), "{} has no property", name.display());
    }
}

fn corpus(name: &str) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder().join(name)).expect("each property has a folder of the corpus");
    let mut files: Vec<_> = files.map(|file| file.expect("the corpus can be listed").path()).collect();
    files.sort();
    files
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}
