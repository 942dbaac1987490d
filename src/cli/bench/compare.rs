//! `bursar bench compare`: two runs side by side.

use std::path::{Path, PathBuf};

use clap::Args;
use comfy_table::{Table, presets::UTF8_BORDERS_ONLY};

use super::figures::Figure;
use crate::cli::Failure;

/// Which runs are compared.
#[derive(Debug, Args)]
pub struct CompareArguments {
    /// Figures of one run: what `bursar bench --json` printed.
    before: PathBuf,
    /// Figures of another run.
    after: PathBuf,
}

/// Prints the figures that both runs have, and the quotient of their medians. Whether the machine was as fast in both, no
/// quotient tells: the bare readers are there to be looked at first.
///
/// # Errors
/// A file that cannot be read, or has no figures.
pub fn compare(arguments: &CompareArguments) -> Result<(), Failure> {
    let (before, after) = (read(&arguments.before)?, read(&arguments.after)?);
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_header([
        "case",
        "measure",
        "unit",
        "before",
        "after",
        "after ÷ before",
        "",
    ]);
    for (a, b) in pairs(&before, &after) {
        table.add_row([
            a.case.clone(),
            a.measure.clone(),
            a.unit.clone(),
            shown(a),
            shown(b),
            quotient(a, b),
            if lie_apart(a, b) { "apart".to_owned() } else { String::new() },
        ]);
    }
    println!("{table}");
    println!("\"apart\": no round of one lies between the rounds of the other.");
    Ok(())
}

fn read(path: &Path) -> Result<Vec<Figure>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let figures: Result<Vec<Figure>, _> =
        text.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str).collect();
    let figures = figures.map_err(|error| format!("{} is not what `bench --json` prints: {error}", path.display()))?;
    if figures.is_empty() {
        return Err(format!("{} has no figures", path.display()).into());
    }
    Ok(figures)
}

fn pairs<'a>(before: &'a [Figure], after: &'a [Figure]) -> impl Iterator<Item = (&'a Figure, &'a Figure)> {
    let same = |a: &Figure, b: &Figure| (&a.case, &a.measure, &a.unit) == (&b.case, &b.measure, &b.unit);
    before.iter().filter_map(move |a| Some((a, after.iter().find(|b| same(a, b))?)))
}

fn shown(Figure { median, min, max, .. }: &Figure) -> String {
    format!("{median} ({min}–{max})")
}

fn quotient(a: &Figure, b: &Figure) -> String {
    if a.median > 0.0 { format!("{:.2}", b.median / a.median) } else { "–".to_owned() }
}

fn lie_apart(a: &Figure, b: &Figure) -> bool {
    a.max < b.min || b.max < a.min
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(case: &str, [min, median, max]: [f64; 3]) -> Figure {
        Figure { case: case.to_owned(), measure: "cpu".to_owned(), unit: "ns".to_owned(), median, min, max }
    }

    #[test]
    fn runs_are_compared_by_case_and_measure() {
        let before = [figure("full", [9.0, 10.0, 12.0]), figure("gone", [1.0; 3]), figure("none", [0.0; 3])];
        let after = [figure("new", [1.0; 3]), figure("none", [1.0; 3]), figure("full", [7.0, 8.0, 8.5])];
        let found: Vec<_> = pairs(&before, &after)
            .map(|(a, b)| (a.case.as_str(), shown(a), shown(b), quotient(a, b), lie_apart(a, b)))
            .collect();
        let full = ("full", "10 (9–12)".to_owned(), "8 (7–8.5)".to_owned(), "0.80".to_owned(), true);
        let none = ("none", "0 (0–0)".to_owned(), "1 (1–1)".to_owned(), "–".to_owned(), true);
        assert_eq!(found, [full, none]);
        assert!(!lie_apart(&before[0], &figure("full", [12.0, 13.0, 14.0])));
    }
}
