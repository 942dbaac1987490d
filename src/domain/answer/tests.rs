//! The lists of answers held against each other, against `docs/answers.md`, and against their packed form.

use std::collections::BTreeSet;

use super::*;

const PAGE: &str = include_str!("../../../docs/answers.md");

/// A code with the names of its fields.
type Entry = (String, Vec<String>);

/// What the page lists under a heading: the first two cells of each row that begins with a code.
fn listed(heading: &str) -> Vec<Entry> {
    let sections: Vec<&str> = PAGE.split("\n## ").filter(|section| section.lines().next() == Some(heading)).collect();
    let [section] = sections[..] else { panic!("the page has {} sections {heading:?}", sections.len()) };
    let row = |line: &str| {
        let (code, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        let (fields, _) = rest.split_once(" | ")?;
        Some((code.to_owned(), fields.split('`').skip(1).step_by(2).map(str::to_owned).collect()))
    };
    section.lines().filter_map(row).collect()
}

fn entry(code: &str, fields: &[(&'static str, String)]) -> Entry {
    (code.to_owned(), fields.iter().map(|(name, _)| (*name).to_owned()).collect())
}

#[test]
fn the_page_lists_every_code_with_its_fields_and_no_other() {
    let applied: Vec<Entry> = Applied::samples().iter().map(|answer| entry(answer.code(), &answer.fields())).collect();
    assert_eq!(listed("Applied"), applied);
    for (class, heading) in [
        (Class::Input, "Refused: the record contradicts itself"),
        (Class::State, "Refused: something stands against it"),
        (Class::Bounds, "Refused: bounds"),
    ] {
        let refused = Refused::samples().into_iter().filter(|why| why.class() == class);
        let refused: Vec<Entry> = refused.map(|why| entry(why.code(), &why.fields())).collect();
        assert_eq!(listed(heading), refused);
    }
    let rows = PAGE.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, Applied::CODES.len() + Refused::CODES.len(), "each code stands in one table");
}

#[test]
fn a_code_names_one_variant() {
    let codes = [Applied::CODES, Refused::CODES].concat();
    assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len(), "{codes:?}");
    let is_plain = |code: &str| code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    assert!(codes.iter().all(|code| is_plain(code)), "{codes:?}");
    assert_eq!(Applied::samples().iter().map(Applied::code).collect::<Vec<_>>(), Applied::CODES);
    assert_eq!(Refused::samples().iter().map(Refused::code).collect::<Vec<_>>(), Refused::CODES);
}

#[test]
fn answers_are_packed_and_read_back() {
    for answer in [Ok(Vec::new()), Ok(Applied::samples())].into_iter().chain(Refused::samples().into_iter().map(Err)) {
        let packed = rmp_serde::to_vec(&answer).expect("answers pack");
        assert_eq!(rmp_serde::from_slice::<Answer>(&packed).expect("answers unpack"), answer);
    }
}

#[test]
fn long_lists_are_cut() {
    let several = |count: u64| (1..=count).map(|nth| format!("g{nth}").into()).collect::<Several<Box<str>>>();
    assert_eq!(several(1).to_string(), "g1");
    assert_eq!(several(2).to_string(), "g1, g2");
    assert_eq!(several(12).to_string(), "g1, g2, g3, g4, g5, g6, g7, g8, g9, g10 and 2 more");
    assert_eq!((several(12).first.len(), several(12).count), (NAMED_MAX, 12));
}
