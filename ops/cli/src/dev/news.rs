//! What whoever runs `dev` should hear of its workers, from their logs: that a message was set
//! aside or tried long in vain, that a breaker paused them, that one logs an error. One line each,
//! with the command that says more, and ever less often while it goes on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use quadrille::SagaId;
use quadrille::ids::shown;
use quadrille_tool::output::{BAD, GOOD, Style, Ui, WAITS};
use serde_json::Value;
use tokio::time::sleep;

const POLL: Duration = Duration::from_millis(500);

/// Read of one log at once; what a worker logs beyond that in so short a time is read later.
const CHUNK: u64 = 256 * 1024;

/// Longest text of a log that is shown.
const MAX_TEXT: usize = 120;

/// Attempts at one order, after which it is news: half a minute of them or more. Workers log each
/// power of two, so each order is told of once.
const LONG: u32 = 8;

/// A log, and how far it was read.
struct Log {
    worker: &'static str,
    path: PathBuf,
    read: u64,
}

/// Tells what the logs say from now on, until it is dropped; `tool` is this program as its user
/// types it.
pub(super) async fn tell(logs: Vec<(&'static str, PathBuf)>, tool: &str, ui: Ui) {
    let end = |path: &PathBuf| path.metadata().map_or(0, |file| file.len());
    let log = |(worker, path)| Log { worker, read: end(&path), path };
    let mut logs: Vec<_> = logs.into_iter().map(log).collect();
    let mut heard = Heard::default();
    loop {
        sleep(POLL).await;
        for log in &mut logs {
            for line in log.lines() {
                let news = serde_json::from_str(&line).ok();
                let news = news.and_then(|line| News::of(log, &line, tool));
                if let Some((style, text)) = news.and_then(|news| heard.say(news)) {
                    ui.note(ui.on_stderr.paint(style, text));
                }
            }
        }
    }
}

impl Log {
    /// The whole lines that are new.
    fn lines(&mut self) -> Vec<String> {
        let mut new = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.read))?;
            file.take(CHUNK).read_to_end(&mut new)
        });
        let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        // A line longer than a chunk would never end.
        let whole = if new.len() as u64 == CHUNK && whole == 0 { new.len() } else { whole };
        self.read += if read.is_ok() { whole as u64 } else { 0 };
        String::from_utf8_lossy(&new[..whole]).lines().map(str::to_owned).collect()
    }
}

/// Something that happened.
#[derive(Debug, PartialEq, Eq)]
struct News {
    /// The same for what is the same trouble.
    of: String,
    /// It is over, and this is to be said once.
    is_over: bool,
    style: Style,
    what: String,
    /// What says more.
    look: String,
}

impl News {
    /// What a line of a log is news of, if it is any.
    fn of(log: &Log, line: &Value, tool: &str) -> Option<Self> {
        let text = |name: &str| shown(line[name].as_str().unwrap_or_default(), MAX_TEXT);
        let (message, service) = (text("message"), text("dependency"));
        let news = |of: String, style, what: String, look: String| {
            Some(Self { of, is_over: false, style, what, look })
        };
        match message.as_str() {
            "parked" => {
                let (durable, saga, reason) = (text("durable"), text("saga"), text("reason"));
                let (what, look) = match saga.as_str() {
                    "-" => (format!("a message under {}", text("subject")), "ls".to_owned()),
                    id => (format!("order {id}"), format!("show {id}")),
                };
                let place = text("pointer");
                let place = if place.is_empty() { place } else { format!(" at {place}") };
                news(
                    format!("parked {durable} {reason}"),
                    BAD,
                    format!("{durable} set {what} aside: {reason}{place}"),
                    format!("`{tool} parked {look}`"),
                )
            }
            "paused" if !service.is_empty() => news(
                format!("paused {service}"),
                WAITS,
                format!("{service} is not working, and the workers that call it pause"),
                format!("`{tool} breaker show {service}`"),
            ),
            "flowing" if !service.is_empty() => Some(Self {
                of: format!("paused {service}"),
                is_over: true,
                style: GOOD,
                what: format!("the workers that call {service} take messages again"),
                look: String::new(),
            }),
            // Nothing else tells of it, because such an order may be tried for ever.
            "could not find out, trying again" if line["attempt"] == LONG => {
                let (saga, why) = (text("saga"), text("why"));
                news(
                    format!("retrying {}", log.worker),
                    WAITS,
                    format!("{} has tried order {saga} {LONG} times in vain: {why}", log.worker),
                    format!("`{tool} why {saga}`"),
                )
            }
            _ if line["level"] == "ERROR" => {
                let id = line["saga"].as_str().filter(|id| SagaId::parse(id).is_ok());
                let order = id.map(|id| format!(" about order {id}")).unwrap_or_default();
                news(
                    format!("error {} {message}", log.worker),
                    BAD,
                    format!("{} logs an error{order}: {message}", log.worker),
                    match id {
                        Some(id) => format!("`{tool} why {id}`"),
                        None => log.path.display().to_string(),
                    },
                )
            }
            _ => None,
        }
    }
}

/// How often each trouble was heard of.
#[derive(Default)]
struct Heard(BTreeMap<String, u32>);

impl Heard {
    /// What is to be said: the 1st, 2nd, 4th, 8th time and so on, and the end once.
    fn say(&mut self, news: News) -> Option<(Style, String)> {
        let News { of, is_over, style, what, look } = news;
        if is_over {
            return self.0.remove(&of).map(|_| (style, what));
        }
        let times = self.0.entry(of).or_insert(0);
        *times += 1;
        let often = if *times == 1 { String::new() } else { format!(" ({times} times so far)") };
        times.is_power_of_two().then(|| (style, format!("{what}{often}; {look}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn news(line: &Value) -> Option<News> {
        let log = Log { worker: "ship-order", path: "logs/ship-order.log".into(), read: 0 };
        News::of(&log, line, "quadrille")
    }

    fn parked(id: &str) -> Value {
        json!({ "level": "WARN", "message": "parked", "durable": "reserve-inventory", "saga": id,
            "reason": "invalid-field", "pointer": "/lines", "subject": "orders.placed.ü" })
    }

    #[test]
    fn what_a_user_must_look_at_is_news_and_says_where() {
        let said = |line: &Value| news(line).and_then(|news| Heard::default().say(news));
        let said = |line: &Value| said(line).map(|(_, text)| text);
        let aside = "reserve-inventory set order A1 aside: invalid-field at /lines; \
                     `quadrille parked show A1`";
        assert_eq!(said(&parked("A1")).as_deref(), Some(aside));
        let nameless = said(&parked("-")).unwrap();
        assert!(nameless.ends_with("`quadrille parked ls`"), "{nameless}");
        let error = json!({ "level": "ERROR", "message": "undo-blocked: a human must look" });
        let error = said(&error).unwrap();
        assert!(error.contains("ship-order logs an error: undo-blocked"), "{error}");
        assert!(error.ends_with("; logs/ship-order.log"), "{error}");
        let error = json!({ "level": "ERROR", "message": "undo-blocked", "saga": "A1" });
        let about = "ship-order logs an error about order A1: undo-blocked; `quadrille why A1`";
        assert_eq!(said(&error).as_deref(), Some(about));
        let tried = |attempt: u32| {
            json!({ "level": "WARN", "message": "could not find out, trying again", "saga": "A1",
                "attempt": attempt, "why": "the service answers 429" })
        };
        let long = "ship-order has tried order A1 8 times in vain: the service answers 429; \
                    `quadrille why A1`";
        assert_eq!(said(&tried(8)).as_deref(), Some(long));
        assert_eq!([4, 16].map(|attempt| said(&tried(attempt))), [None, None]);
    }

    #[test]
    fn it_is_said_ever_less_often_and_its_end_once() {
        let mut heard = Heard::default();
        let count = (1..=9).filter(|at| {
            let news = news(&parked(&format!("A{at}"))).unwrap();
            heard.say(news).is_some()
        });
        assert_eq!(count.collect::<Vec<_>>(), [1, 2, 4, 8]);
        let breaker = |message| json!({ "message": message, "dependency": "payment-gateway" });
        let mut say = |message| heard.say(news(&breaker(message)).unwrap()).map(|(_, text)| text);
        assert_eq!(say("flowing"), None, "it never paused");
        assert!(say("paused").unwrap().contains("breaker show payment-gateway"));
        // Not that it works: the pause of a replica that died ends by itself.
        let again = "the workers that call payment-gateway take messages again";
        assert_eq!(say("flowing").as_deref(), Some(again));
        assert!(say("paused").is_some(), "another outage is the first one again");
    }

    #[test]
    fn a_line_is_read_once_it_is_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut log = Log { worker: "x", path: file.path().to_owned(), read: 0 };
        std::fs::write(file.path(), "one\ntw").unwrap();
        assert_eq!(log.lines(), ["one"]);
        std::fs::write(file.path(), "one\ntwo\n").unwrap();
        assert_eq!(log.lines(), ["two"]);
        assert!(log.lines().is_empty());
    }
}
