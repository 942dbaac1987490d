//! The one command that shows what Bursar is (README, "See it"); it needs no server.

use std::process::Command;

/// What it shows, in this order; and it ends without a complaint.
#[test]
fn the_demo_shows_what_the_readme_says() {
    let output = Command::new(env!("CARGO_BIN_EXE_bursar")).arg("demo").output().expect("the program starts");
    let (shown, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{shown}\n{said}");
    let mut rest: &str = &shown;
    for step in [
        "CROSSING: org-1 ws:ws-1 has used 80 %",
        "PAUSE: org-1 ws:ws-1",
        "granting 10.000000 credits",
        "RESUME: org-1 ws:ws-1",
        // 9,000 of usage, six that set up and grant, and what comes due in between.
        "balance: consumed 90",
        "= applied 90",
        "+ duplicate 0 + dead letter 0",
    ] {
        let at = rest.find(step).unwrap_or_else(|| panic!("{step:?} does not follow in\n{shown}"));
        rest = &rest[at + step.len()..];
    }
    assert!(!said.contains("ERROR"), "{said}");
}
