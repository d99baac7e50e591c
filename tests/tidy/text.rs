//! Sizes, headers and words.

use std::process::Command;

use tests::stack::{Build, program};

use crate::tree::{File, assert_tidy, files, files_without_extension, read, root};

/// Lines of a file without the tests at its end, and of any file at all.
const LINES: (usize, usize) = (300, 400);
/// Characters of a line.
const WIDTH: usize = 100;

/// Where a test may let time pass, and why it does not wait for something to become true.
const SLEEPS: &[(&str, &str)] = &[
    ("tests/harness/src/eventually.rs", "looks again; all other tests wait with it"),
    ("tests/src/storm.rs", "looks again, within the limit of the storm"),
    ("tests/src/weather.rs", "a server stands still for so long; publishes again"),
    ("tests/saga/hazards/passed.rs", "moves durables again and again"),
    ("tests/contract/slots.rs", "writers try again after a jittered pause"),
    ("tests/contract/faults.rs", "a fault comes at a random moment"),
    ("tests/query/kills.rs", "a kill comes at a random moment"),
    ("tests/cli/parked.rs", "a kill comes at a random moment"),
    ("tests/saga/hazards/cancels.rs", "races begin at about the same moment"),
    ("workers/charge-customer/tests/http_gateway/main.rs", "races begin at random moments"),
    ("workers/charge-customer/tests/stripe_mock.rs", "looks again, as `eventually` does"),
    ("ops/sandbox/tests/sandbox/payment.rs", "looks again, as `eventually` does"),
    ("workers/ship-order/tests/http_carrier.rs", "looks again, as `eventually` does"),
    ("shared/src/pipeline/tests/waits.rs", "in paused time; a call takes so long"),
    ("workers/reserve-inventory/tests/stock_log/broker.rs", "a scripted broker takes its time"),
];

#[test]
fn no_file_is_longer_than_one_can_read() {
    let mut findings = Vec::new();
    for file in files(&[".rs"]) {
        let all = file.text.lines().count();
        let code = file.text.lines().take_while(|line| *line != "#[cfg(test)]").count();
        let most = if file.is_test() { LINES.1 } else { LINES.0 };
        if code > most || all > LINES.1 {
            let path = &file.path;
            findings.push(format!(
                "{path}:{all}: over {most} lines; split it by what changes together"
            ));
        }
    }
    assert_tidy(&findings);
}

#[test]
fn no_line_is_wider_than_a_page() {
    let mut findings = Vec::new();
    for file in files(&[".rs"]) {
        for (number, line) in file.lines().filter(|(_, line)| line.chars().count() > WIDTH) {
            let count = line.chars().count();
            findings.push(format!("{}:{number}: {count} characters; break it", file.path));
        }
    }
    assert_tidy(&findings);
}

#[test]
fn a_main_file_only_starts() {
    let mains =
        files(&["/src/main.rs"]).into_iter().filter(|file| file.path.starts_with("workers/"));
    let long = mains.filter(|file| file.text.lines().count() > 30);
    let say = |file: File| format!("{}:30: over 30 lines; move it to lib.rs", file.path);
    assert_tidy(&long.map(say).collect::<Vec<_>>());
}

#[test]
fn every_module_says_why_it_is() {
    // A worker's `main.rs` is three lines that say it themselves.
    let thin = |file: &File| file.path.starts_with("workers/") && file.path.ends_with("/main.rs");
    let silent =
        files(&[".rs"]).into_iter().filter(|file| !file.text.starts_with("//!") && !thin(file));
    let say = |file: File| format!("{}:1: begin with //! and why it is there", file.path);
    assert_tidy(&silent.map(say).collect::<Vec<_>>());
}

#[test]
fn a_test_waits_for_a_condition_and_never_for_long_enough() {
    let mut findings = Vec::new();
    let call = concat!("sleep", "(");
    for file in files(&[".rs"]).into_iter().filter(File::is_test) {
        let home = SLEEPS.iter().any(|(home, _why)| *home == file.path);
        for (number, _) in file.lines().filter(|(_, line)| line.contains(call) && !home) {
            let path = &file.path;
            findings.push(format!("{path}:{number}: wait with `eventually`, or name it in SLEEPS"));
        }
    }
    for (home, _why) in SLEEPS {
        if !root().join(home).is_file() || !read(home).text.contains(call) {
            findings.push(format!("{home}:1: no longer sleeps; take it out of SLEEPS"));
        }
    }
    assert_tidy(&findings);
}

/// The operator's commands, as the tool itself lists them.
fn commands() -> Vec<String> {
    let help = Command::new(program(Build::Shipped, "quadrille")).arg("-h").output();
    let help = String::from_utf8(help.expect("it runs").stdout).expect("it is text");
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Lines of code, each with what a backslash at its end continues.
fn code(file: &File) -> Vec<(usize, String)> {
    let mut code: Vec<(usize, String)> = Vec::new();
    for (number, line) in file.lines().take_while(|(_, line)| *line != "#[cfg(test)]") {
        match code.last_mut() {
            Some((_, before)) if before.ends_with('\\') => {
                before.pop();
                before.push_str(line.trim_start());
            }
            _ => code.push((number, line.to_owned())),
        }
    }
    code
}

/// Whether a command is called otherwise than `quadrille COMMAND …`.
fn is_bare(line: &str, command: &str) -> bool {
    let (named, alone) = (format!("quadrille {command}"), format!("`{command} "));
    let called = ["`", "| "].map(|before| format!("{before}{named}"));
    let found = |text: &str| line.matches(text).count();
    found(&named) > called.iter().map(|text| found(text)).sum() || found(&alone) > 0
}

/// Otherwise `Ui::as_called` does not find it, and a user whose program is not on PATH cannot paste
/// it. Help, whose lines are not indented so far, names the program by its name.
#[test]
fn a_command_in_an_advice_stands_where_it_is_called_as_the_user_calls_it() {
    let commands = commands();
    assert!(commands.len() > 10 && commands.iter().any(|name| name == "why"), "{commands:?}");
    let broken =
        File { path: String::new(), text: "    \"try quadrille \\\n     why A1\"".to_owned() };
    assert!(is_bare(&code(&broken)[0].1, "why"), "a call that goes on in the next line is one");
    let mut findings = Vec::new();
    let texts = files(&[".rs"]).into_iter().filter(|file| {
        let of_the_tool = ["ops/cli/src/", "shared/tool/src/"];
        of_the_tool.iter().any(|folder| file.path.starts_with(folder)) && !file.is_test()
    });
    for file in texts {
        for (number, line) in code(&file).iter().filter(|(_, line)| line.starts_with("    ")) {
            let is_comment = line.trim_start().starts_with("//");
            if !is_comment && commands.iter().any(|command| is_bare(line, command)) {
                findings.push(format!("{}:{number}: say `quadrille COMMAND …`", file.path));
            }
        }
    }
    assert_tidy(&findings);
}

#[test]
fn nothing_is_left_to_do() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME")];
    let mut findings = Vec::new();
    let named = files(&[".rs", ".md", ".toml", ".yml", ".conf", ".sh"]);
    for file in named.into_iter().chain(files_without_extension()) {
        for (number, line) in file.lines() {
            let words =
                |text: &str| text.split(|c: char| !c.is_alphanumeric()).any(|w| marks.contains(&w));
            if words(line) {
                findings.push(format!("{}:{number}: do it, or open an issue", file.path));
            }
        }
    }
    assert_tidy(&findings);
}

#[test]
fn what_a_newcomer_reads_is_short() {
    let mut findings = Vec::new();
    for (page, most) in [("README.md", 190), ("ARCHITECTURE.md", 150)] {
        if root().join(page).is_file() && read(page).text.lines().count() > most {
            findings
                .push(format!("{page}:{most}: over {most} lines; move detail to where it is used"));
        }
    }
    assert_tidy(&findings);
}
