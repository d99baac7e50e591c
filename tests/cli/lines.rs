//! Many orders from one file: `place --lines`.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tests::server::Server;
use tests::stack::{Build, Fate, Stack, order, program};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::{Said, quadrille};

/// An order as JSON in one line, under this id.
fn line(id: &str) -> String {
    let mut order = serde_json::to_value(order(Fate::Completes, 0)).unwrap();
    order["order_id"] = id.into();
    order.to_string()
}

/// `QUADRILLE_TEST_LINES`, for the long form.
fn lines() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test's own environment")]
    std::env::var("QUADRILLE_TEST_LINES").ok().and_then(|count| count.parse().ok()).unwrap_or(500)
}

/// So many lines, of which every 25th, or each hundredth part, is no order, each in another way.
fn mixed(lines: u64) -> (String, Vec<u64>) {
    let (mut text, mut bad) = (String::from("\u{feff}"), Vec::new());
    let every = (lines / 100).max(25);
    for line_number in 1..=lines {
        // Numbered as if every 25th was bad.
        let number = if line_number % every == 0 { line_number / every * 25 } else { 1 };
        let good = line(&format!("L-{line_number}"));
        let written = match number {
            25 => good.replacen("\"quantity\":", "\"quantity\":-", 1),
            50 => good.replacen(&format!("L-{line_number}"), "a b", 1),
            75 => "{".to_owned(),
            100 => "[]".to_owned(),
            125 => good.replacen("\"order_id\"", "\"not_an_id\"", 1),
            150 => format!("{good}{good}"),
            175 => format!("\"{}\"", "x".repeat(600_000)),
            number if number % 25 == 0 => good.replacen("EUR", "EUX", 1),
            _ => good.clone(),
        };
        if number % 25 == 0 {
            bad.push(line_number);
        }
        text.push_str(&format!("{written}\r\n"));
    }
    (text, bad)
}

fn documents(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn numbers(documents: &[Value]) -> Vec<u64> {
    documents.iter().map(|document| document["line"].as_u64().expect("a line")).collect()
}

async fn piped(server: &Server, line: &str, input: &[u8]) -> Said {
    let mut child = Command::new(program(Build::Shipped, "quadrille"))
        .env_clear()
        .args(["--nats", &server.url()])
        .args(line.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A program that refuses its input may end before it has read it.
    let _ = stdin.write_all(input).await;
    drop(stdin);
    let output = child.wait_with_output().await.expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn read(file: &Path) -> Vec<Value> {
    documents(&std::fs::read_to_string(file).expect("it was written"))
}

#[tokio::test]
async fn one_order_over_several_lines_is_told_once_with_the_command_that_places_it() {
    let stack = Stack::bare().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("order.json");
    let pretty: Value = serde_json::from_str(&line("P1")).unwrap();
    std::fs::write(&file, format!("{pretty:#}\n")).unwrap();
    let said = quadrille(&stack.server, &format!("place --lines {}", file.display())).await;
    assert_eq!((said.code, said.stderr.lines().count()), (Some(2), 2), "{}", said.stderr);
    let name = program(Build::Shipped, "quadrille");
    let command = format!("place {}", file.display());
    let advice = format!("nothing was sent: `{} {command}` places it", name.display());
    for part in ["is one order over several lines", &advice] {
        assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
    }
    assert_eq!(quadrille(&stack.server, &command).await.code, Some(0), "the advice is right");
}

#[tokio::test]
async fn a_line_whose_id_is_spent_is_rejected_and_not_placed() {
    let stack = Stack::bare().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.jsonl");
    stack.raw.publish("orders.payment.S2", &[], "junk").await.unwrap();
    std::fs::write(&file, ["S1", "S2", "S3"].map(line).join("\n")).unwrap();
    let place = format!("place --lines {} --json", file.display());
    let said = quadrille(&stack.server, &place).await;
    let told = documents(&said.stdout);
    assert_eq!((said.code, numbers(&told)), (Some(1), vec![1, 2, 3]), "{}", said.stderr);
    let mistake = &told[1]["mistakes"][0];
    assert_eq!(mistake["code"], "id-spent", "{mistake}");
    assert!(mistake["message"].as_str().unwrap().contains("slot payment is taken"), "{mistake}");
    assert_eq!([&told[0]["placed"], &told[2]["placed"]], ["now", "now"]);
    assert_eq!(stack.raw.messages("ORDERS").await, 3, "the junk and two orders");
}

/// The broker answers a request with at most 1,024 messages.
#[tokio::test]
async fn ids_are_looked_at_in_every_line_though_one_has_a_thousand_strays_before() {
    let stack = Stack::bare().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("orders.jsonl");
    for stray in 0..1_100 {
        stack.raw.publish(&format!("orders.stray-{stray}.T-3"), &[], "junk").await.unwrap();
    }
    stack.raw.publish("orders.payment.T-170", &[], "junk").await.unwrap();
    let ids = (1..=200).map(|number| format!("T-{number}"));
    std::fs::write(&file, ids.map(|id| line(&id)).collect::<Vec<_>>().join("\n")).unwrap();
    for place in
        [format!("place --lines {}", file.display()), "place --count 200 --prefix T".into()]
    {
        let said = quadrille(&stack.server, &place).await;
        assert_eq!(said.code, Some(1), "{place}: {}", said.stderr);
        assert!(said.stderr.contains("its slot payment is taken"), "{place}: {}", said.stderr);
        assert!(!said.stderr.contains("not known whether"), "{place}: {}", said.stderr);
    }
    assert_eq!(stack.raw.messages("ORDERS").await, 1_101 + 199);
}

#[tokio::test]
async fn of_many_orders_that_fail_some_are_told_and_then_how_to_go_on() {
    let stack = Stack::bare().await;
    for number in 1..=12 {
        stack.raw.publish(&format!("orders.payment.U-{number}"), &[], "junk").await.unwrap();
    }
    let said = quadrille(&stack.server, "place --count 13 --prefix U").await;
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert_eq!(said.stderr.matches("was not sent").count(), 10, "{}", said.stderr);
    let last = said.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("2 more failed like these; once what failed is mended"), "{last}");
    assert!(last.contains("`--prefix U --count 13`"), "{last}");
}

#[tokio::test]
async fn every_line_gets_a_receipt_or_its_mistakes_and_a_second_run_places_nothing() {
    let stack = Stack::bare().await;
    let folder = tempfile::tempdir().unwrap();
    let count = lines();
    let (text, bad) = mixed(count);
    let (good, every) = (usize::try_from(count).unwrap() - bad.len(), (count / 100).max(25));
    let (orders, rejects) = (folder.path().join("orders.jsonl"), folder.path().join("bad.jsonl"));
    std::fs::write(&orders, &text).unwrap();
    let place =
        format!("place --lines {} --rejects {} --json", orders.display(), rejects.display());
    let said = quadrille(&stack.server, &place).await;
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    let told = documents(&said.stdout);
    assert_eq!(numbers(&told), (1..=count).collect::<Vec<_>>(), "in the order of the lines");
    let (placed, rejected): (Vec<Value>, Vec<Value>) =
        told.into_iter().partition(|one| one["sequence"].is_u64());
    assert_eq!((placed.len(), numbers(&rejected)), (good, bad.clone()));
    assert_eq!(read(&rejects), rejected, "the file has what stdout has");

    let first = |line: u64| {
        let line = line / 25 * every;
        let reject = rejected.iter().find(|one| one["line"] == line).expect("a reject");
        let mistake = &reject["mistakes"][0];
        (mistake["pointer"].as_str().unwrap(), mistake["code"].as_str().unwrap())
    };
    assert_eq!(first(25), ("/lines/0/quantity", "invalid-field"));
    assert_eq!(first(50), ("/order_id", "invalid-field"));
    assert_eq!((first(75), first(100)), (("", "not-json"), ("", "invalid-field")));
    assert_eq!((first(125), first(150)), (("/order_id", "no-id"), ("", "not-json")));
    assert_eq!((first(175), first(200).0), (("", "not-json"), "/lines/0/unit_price/currency"));
    assert_eq!(rejected[0]["text"], text.lines().nth(bad[0] as usize - 1).unwrap().trim_end());

    let log = async || stack.raw.messages("ORDERS").await;
    let before = log().await;
    let again = quadrille(&stack.server, &place).await;
    let again = documents(&again.stdout);
    let found = again.iter().filter(|one| one["placed"] == "before").count();
    let all = u64::try_from(good).unwrap();
    assert_eq!((found, before, log().await), (good, all, all), "no second order");
    println!("{count} lines: {good} receipts, {} rejects; again: no second order", bad.len());
}

#[tokio::test]
async fn an_array_is_taken_too_and_names_its_orders_by_their_place() {
    let stack = Stack::bare().await;
    let nameless =
        line("x").replacen("\"order_id\":\"x\",", "", 1).replacen(",\"order_id\":\"x\"", "", 1);
    let text = format!("[{},\n {nameless},\n{{}}, {nameless}", line("B1"));
    let place = "place --lines - --prefix night --json";
    let said = piped(&stack.server, place, text.as_bytes()).await;
    let told = documents(&said.stdout);
    assert_eq!((said.code, numbers(&told)), (Some(1), vec![1, 2, 3, 3]), "{}", said.stdout);
    assert_eq!((&told[0]["id"], &told[1]["id"]), (&json!("B1"), &json!("night-2")));
    assert_eq!((&told[2]["item"], &told[3]["item"]), (&json!(2), &json!(3)));
    let all = told[2]["mistakes"].as_array().unwrap();
    assert!(all.iter().any(|mistake| mistake["pointer"] == "/customer"), "{all:?}");
    let cut = told[3]["mistakes"][0]["message"].as_str().unwrap();
    assert!(cut.contains("ends here"), "{cut}");
    let again = piped(&stack.server, place, format!("{text}]").as_bytes()).await;
    let told = documents(&again.stdout);
    assert_eq!((&told[1]["placed"], &told[3]["placed"]), (&json!("before"), &json!("now")));
}

#[tokio::test]
async fn what_is_no_json_is_named_and_a_log_that_takes_nothing_stops_the_command() {
    let stack = Stack::bare().await;
    let others =
        [(&b"\x1f\x8b\x08\0\0"[..], "gzip"), (b"\xff\xfe{\0\n\0", "UTF-16"), (b"id,sku\n", "CSV")];
    for (input, name) in others {
        let said = piped(&stack.server, "place --lines - --prefix night", input).await;
        assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""));
        for part in [name, "quadrille place --lines - --prefix night --nats nats://"] {
            assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let rejects = format!("place --lines - --rejects {}", folder.path().join("r").display());
    let said = piped(&stack.server, &rejects, "x\n".repeat(18).as_bytes()).await;
    let first = "line 1: cannot be read as JSON: column 1: a value is missing";
    for part in [first, "its text; 8 are only there"] {
        assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
    }
    let twice =
        format!("{}\n{}\n", line("T1"), line("T1").replacen("\"quantity\":3", "\"quantity\":4", 1));
    let said = piped(&stack.server, "place --lines - --json", twice.as_bytes()).await;
    let told = documents(&said.stdout);
    assert_eq!(told[0]["placed"], "now", "the first of one id is kept: {}", said.stdout);
    assert_eq!(told[1]["mistakes"][0]["code"], "already-placed");
}

#[tokio::test]
async fn what_is_advised_for_a_spreadsheet_reads_it() {
    let stack = Stack::bare().await;
    let folder = tempfile::tempdir().unwrap();
    for (name, columns) in [("c.csv", "id,sku"), ("s.csv", "id;sku"), ("t.csv", "id\tsku")] {
        let file = folder.path().join(name);
        let row = columns.replace("id", "A1").replace("sku", "ROSE");
        std::fs::write(&file, format!("\u{feff}{columns}\r\n{row}\r\n")).unwrap();
        let said = quadrille(&stack.server, &format!("place --lines {}", file.display())).await;
        let reads = said.stderr.split('`').nth(1).unwrap();
        let read = Command::new("sh").args(["-c", reads]).output();
        let read = String::from_utf8(read.await.unwrap().stdout).unwrap();
        assert_eq!(read, "{\"id\": \"A1\", \"sku\": \"ROSE\"}\n", "{reads}");
    }
}

#[tokio::test]
async fn h46_a_bulk_load_leaves_the_room_that_open_orders_need_to_end() {
    let stack = Stack::bare().await;
    stack.raw.change_stream("ORDERS", json!({ "max_bytes": 40_000 })).await.unwrap();
    let many: String = (0..200).map(|at| line(&format!("F{at}")) + "\n").collect();
    let place = "place --lines - --in-flight 4 --json";
    let said = piped(&stack.server, place, many.as_bytes()).await;
    let placed = documents(&said.stdout).len();
    assert_eq!((said.code, (10..100).contains(&placed)), (Some(1), true), "{placed}");
    assert!(said.stderr.contains("nine tenths full"), "{}", said.stderr);
    assert!(said.stderr.contains("run the same command again"), "{}", said.stderr);
    for (place, held) in [
        ("place --id new", "nothing was sent: the log is nine tenths full"),
        ("place --count 2", "stopped, because the log is nine tenths full"),
        ("place --id F0 --quantity 99", "already placed, with other data"),
    ] {
        let said = quadrille(&stack.server, place).await;
        assert_eq!((said.code, said.stdout.as_str()), (Some(1), ""), "{place}: {}", said.stderr);
        assert!(said.stderr.contains(held), "{place}: {}", said.stderr);
    }
    for at in 0..2 {
        let subject = format!("orders.inventory.F{at}");
        let stored = stack.raw.publish(&subject, &[], &"x".repeat(900)).await;
        stored.expect("there is room for what happens to an open order");
    }
    stack.raw.change_stream("ORDERS", json!({ "max_bytes": 1_000_000 })).await.unwrap();
    let said = piped(&stack.server, place, many.as_bytes()).await;
    let told = documents(&said.stdout);
    let before = told.iter().filter(|one| one["placed"] == "before").count();
    assert_eq!((said.code, told.len(), before), (Some(0), 200, placed), "{}", said.stderr);
}
