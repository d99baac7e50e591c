//! The settings of streams and durables that an operator may choose. One that is not given stays as
//! it is where it exists, so that raising one size on a cluster does not take its copies away.

use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use quadrille::topology::{Keep, Profile, Topology};
use quadrille::{Flow, KeyNamespace};

/// What is chosen.
#[derive(Debug, Args)]
pub struct Settings {
    /// What the log promises to survive: dev, single or cluster; without it copies that exist are
    /// kept, and streams that are missing are made for dev
    #[arg(long)]
    pub(super) profile: Option<Profile>,
    /// Time after which a message that no worker settled is delivered again; without it a
    /// durable that exists keeps its own [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    ack_wait: Option<Given<Duration>>,
    /// Size at which the log of events refuses more; one that exists keeps its own without it, and
    /// is made smaller only while it is empty [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_bytes: Option<Given<u64>>,
    /// The same, for messages that were set aside [default: 256MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    parked_max_bytes: Option<Given<u64>>,
    /// The same, for each stream that a worker keeps for itself [default: 256MiB]
    #[arg(long, alias = "stock-max-bytes", value_name = "SIZE", value_parser = parse_size)]
    kept_max_bytes: Option<Given<u64>>,
    /// The namespace of idempotency keys of a log that has lost it, or of a new log that goes on
    /// with the orders of another; without it a new log draws its own
    #[arg(long, value_name = "UUID")]
    keys: Option<KeyNamespace>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// A value, and how it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Given<T> {
    value: T,
    text: String,
}

impl Settings {
    pub(super) fn topology(&self, flow: &'static Flow) -> Topology {
        let default = Topology::new(flow, self.profile.unwrap_or(Profile::Dev));
        let size =
            |given: &Option<Given<u64>>, default| given.as_ref().map_or(default, |it| it.value);
        Topology {
            max_bytes: size(&self.max_bytes, default.max_bytes),
            parked_max_bytes: size(&self.parked_max_bytes, default.parked_max_bytes),
            kept_max_bytes: size(&self.kept_max_bytes, default.kept_max_bytes),
            ack_wait: self.ack_wait.as_ref().map_or(default.ack_wait, |it| it.value),
            keep: self.keep(),
            keys: self.keys,
            ..default
        }
    }

    fn keep(&self) -> Keep {
        Keep {
            replicas: self.profile.is_none(),
            ack_wait: self.ack_wait.is_none(),
            max_bytes: self.max_bytes.is_none(),
            parked_max_bytes: self.parked_max_bytes.is_none(),
            kept_max_bytes: self.kept_max_bytes.is_none(),
        }
    }

    /// What stays as it is where it exists: the server's names, and for sizes the flag's.
    pub(super) fn kept(&self) -> Vec<&'static str> {
        let Keep { replicas, ack_wait, max_bytes, parked_max_bytes, kept_max_bytes } = self.keep();
        let kept = [
            (replicas, "num_replicas"),
            (ack_wait, "ack_wait"),
            (max_bytes, "max_bytes"),
            (parked_max_bytes, "parked_max_bytes"),
            (kept_max_bytes, "kept_max_bytes"),
        ];
        kept.into_iter().filter_map(|(kept, name)| kept.then_some(name)).collect()
    }

    /// The flags as they were written, each after a space.
    pub(super) fn given(&self) -> String {
        let text = |given: &Option<Given<u64>>| given.as_ref().map(|given| given.text.clone());
        let flags = [
            ("--profile", self.profile.map(|profile| profile.to_string())),
            ("--ack-wait", self.ack_wait.as_ref().map(|given| format!("'{}'", given.text))),
            ("--max-bytes", text(&self.max_bytes)),
            ("--parked-max-bytes", text(&self.parked_max_bytes)),
            ("--kept-max-bytes", text(&self.kept_max_bytes)),
            ("--keys", self.keys.map(|keys| keys.to_string())),
        ];
        let given = flags.into_iter().filter_map(|(flag, text)| Some(format!(" {flag} {}", text?)));
        given.collect()
    }
}

fn parse_time(text: &str) -> Result<Given<Duration>, String> {
    let wrong = || "expected a time such as 30s, 1m or 1m 30s, at least 1s".to_owned();
    let time: SignedDuration = text.parse().map_err(|_| wrong())?;
    let value = Duration::try_from(time).map_err(|_| wrong())?;
    let given = Given { value, text: text.to_owned() };
    if value >= Duration::from_secs(1) { Ok(given) } else { Err(wrong()) }
}

fn parse_size(text: &str) -> Result<Given<u64>, String> {
    let wrong = || "expected a size such as 512MiB, 64GiB or 1073741824".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let size = number.checked_mul(1 << shift).filter(|size| *size > 0);
    // The server counts in signed 64 bits.
    size.filter(|size| i64::try_from(*size).is_ok())
        .map(|value| Given { value, text: text.to_owned() })
        .ok_or_else(|| "expected a size between 1 byte and 8 million TiB".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use schemas::order_fulfilment::FLOW;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn settings(line: &[&str]) -> Settings {
        Line::try_parse_from([&["it"], line].concat()).unwrap().settings
    }

    #[test]
    fn sizes_have_binary_units() {
        for text in ["1GiB", "1073741824"] {
            assert_eq!(parse_size(text).unwrap().value, 1 << 30);
        }
        for wrong in ["", "GiB", "1GB", "-1", "0", "1.5GiB", "9000000000TiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(parse_time("1m 30s").unwrap().value, Duration::from_secs(90));
        for wrong in ["", "30", "500ms", "-5s"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_given_is_repeated_and_what_is_not_is_kept() {
        let given = settings(&["--max-bytes", "64GiB", "--profile", "cluster"]);
        assert_eq!(given.given(), " --profile cluster --max-bytes 64GiB");
        assert_eq!(
            given.topology(&FLOW).keep,
            Keep { replicas: false, max_bytes: false, ..Keep::ALL }
        );
        let nothing = settings(&[]);
        assert_eq!(nothing.given(), "");
        assert_eq!(nothing.topology(&FLOW).keep, Keep::ALL);
        assert_eq!(settings(&["--ack-wait", "1m 30s"]).given(), " --ack-wait '1m 30s'");
    }
}
