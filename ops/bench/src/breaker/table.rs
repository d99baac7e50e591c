//! The table on standard output.

use super::Report;
use super::verdict::Scenario;

pub(crate) fn print(report: &Report) {
    println!("{}; {}; {} s", report.server, report.form, report.seconds);
    println!(
        "\n{:18} {:6} {:>7} {:>6} {:>7} {:>6} {:>8} {:>7} {:>10} {:>8}  limits",
        "",
        "design",
        "wasted",
        "limit",
        "burnt",
        "parked",
        "paused s",
        "detect",
        "first good",
        "goodput"
    );
    let mut last = "";
    for scenario in &report.scenarios {
        let name = if scenario.name == last { "" } else { scenario.name };
        last = scenario.name;
        println!("{name:18} {}", line(scenario));
    }
}

fn line(scenario: &Scenario) -> String {
    let number = |value: Option<u64>| value.map_or("–".to_owned(), |value| value.to_string());
    let verdict = if scenario.met { "met".to_owned() } else { scenario.why.join("; ") };
    format!(
        "{:6} {:>7} {:>6} {:7} {:6} {:8.1} {:>7} {:>10} {:8.2}  {verdict}",
        scenario.design,
        number(scenario.wasted_calls),
        number(scenario.wasted_limit),
        scenario.deliveries_burnt,
        scenario.wrongly_parked,
        scenario.paused_seconds,
        number(scenario.detect_ms),
        number(scenario.first_good_ms),
        scenario.goodput,
    )
}
