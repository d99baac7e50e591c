//! No secret is shown: not at any level of the logs, not in help, not in errors.

use harness::binaries::{Build, program};
use harness::folder::Folder;
use tokio::process::Command;

use crate::path;
use crate::shop::{Variables, launch, quadrille, server};

/// In every secret of this test, and nowhere else.
const CANARY: &str = "c4nary";

fn settings(url: &str, more: &[(&'static str, &str)]) -> Variables {
    let own = [
        ("QUADRILLE_NATS__URL", url),
        ("QUADRILLE_LOG__LEVEL", "trace,async_nats=trace"),
        ("QUADRILLE_CHARGE_CUSTOMER__SECRET", CANARY),
        ("QUADRILLE_CHARGE_CUSTOMER__URL", "http://127.0.0.1:1/payment"),
    ];
    own.iter().chain(more).map(|(name, value)| (*name, (*value).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_a_log_in_help_or_in_an_error() {
    let users = format!("authorization {{ users: [{{ user: me, password: \"{CANARY}\" }}] }}");
    let server = server(&users).await;
    let folder = Folder::new("quadrille-");
    let with = |login: &str| server.url().replace("://", &format!("://{login}@"));
    let good = with(&format!("me:{CANARY}"));
    let (ca, not_a_file) = (path("ca.pem"), format!("/nowhere/{}", "password"));
    let cases = [
        ("takes work", good.clone(), vec![]),
        ("authorization violation", with(&format!("me:{CANARY}x")), vec![]),
        ("authorization violation", with(&format!("{CANARY}-token")), vec![]),
        ("cannot connect", format!("nats://me:{CANARY}@127.0.0.1:1"), vec![]),
        ("cannot connect", format!("nats://me:{CANARY}@no-such-host.invalid"), vec![]),
        ("is not the URL", format!("nats://me:1#{CANARY}@127.0.0.1"), vec![]),
        ("is not the URL", format!("nats://me:{CANARY}%zz@127.0.0.1"), vec![]),
        ("is not the URL", format!("nats://me:{CANARY}"), vec![]),
        ("cannot connect", good.clone(), vec![("QUADRILLE_NATS__CA", ca.as_str())]),
        (
            "another: keep one",
            good.clone(),
            vec![("QUADRILLE_NATS__USER", "me"), ("QUADRILLE_NATS__PASSWORD_FILE", &not_a_file)],
        ),
    ];
    let applied = quadrille(&settings(&good, &[]), "topology apply --write").await;
    assert_eq!(applied.code, Some(0), "{}", applied.stderr);
    for (expected, url, more) in cases {
        let variables = settings(&url, &more);
        let mut worker = launch("charge-customer", &variables, folder.path());
        if expected == "takes work" {
            worker.ready().await.unwrap_or_else(|error| panic!("{error:#}"));
            worker.shut_down().await;
        } else {
            worker.ended().await;
        }
        let said = worker.said();
        assert!(said.contains(expected), "{expected}: {said}");
        assert!(!said.contains(CANARY), "a worker shows a secret: {said}");
        for line in ["topology plan", "trace A1", "place --dry-run", "--help", "trace --help"] {
            let mut variables = variables.clone();
            variables.extend([("NATS_PASSWORD", CANARY.to_owned()), ("NATS_URL", url.clone())]);
            let said = quadrille(&variables, line).await;
            let said = format!("{}{}", said.stdout, said.stderr);
            assert!(!said.is_empty() && !said.contains(CANARY), "{line} shows a secret: {said}");
        }
    }
}

#[tokio::test]
async fn no_secret_is_in_an_error_about_a_setting() {
    let folder = Folder::new("quadrille-");
    let file = folder.file("broken.toml");
    std::fs::write(&file, format!("[nats]\nurl = \"nats://me:{CANARY}@a\" x\n")).unwrap();
    let (file, password) = (file.display().to_string(), format!("nats.password={CANARY}"));
    for (arguments, expected) in
        [(["--config", &file], "line 2"), (["--set", &password], "nats.password")]
    {
        let mut worker = Command::new(program(Build::Shipped, "charge-customer"));
        let output = worker.env_clear().args(arguments).output().await.expect("it runs");
        let said = String::from_utf8(output.stderr).expect("it prints text");
        assert!(said.contains(expected) && !said.contains(CANARY), "{said}");
    }
}

/// Without a broker: a process that only says how it is set needs none.
#[tokio::test]
async fn a_process_prints_each_setting_with_its_origin_and_no_secret() {
    let folder = Folder::new("quadrille-");
    let file = folder.file("quadrille.toml");
    let text =
        format!("[charge-customer]\nsecret = \"{CANARY}\"\n[breaker.payment-gateway]\nrun = 4\n");
    std::fs::write(&file, text).unwrap();
    let url = format!("nats://me:{CANARY}@127.0.0.1:1");
    for worker in ["charge-customer", "complete-order", "command", "query"] {
        let mut command = Command::new(program(Build::Shipped, worker));
        command.env_clear().env("QUADRILLE_NATS__URL", &url);
        command.arg("--print-settings").arg("--config").arg(&file);
        command.args(["--set", "worker.deadline=7s"]);
        let output = command.output().await.expect("it runs");
        let said = String::from_utf8(output.stdout).expect("it prints text");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{worker}: {stderr}");
        assert!(!format!("{said}{stderr}").contains(CANARY), "{worker}: {said}{stderr}");
        let line = |key: &str| {
            let found = said.lines().find(|line| line.contains(&format!("{key} ")));
            let found = found.unwrap_or_else(|| panic!("{worker} does not say {key}: {said}"));
            found.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("worker.deadline"), "worker.deadline = \"7s\" # --set worker.deadline");
        assert_eq!(line("worker.concurrency"), "worker.concurrency = 64 # default");
        let shown = "nats.url = \"nats://***@127.0.0.1:1\" # QUADRILLE_NATS__URL";
        assert_eq!(line("nats.url"), shown);
        assert_eq!(line("nats.user"), "# nats.user is not set # default");
        if worker == "charge-customer" {
            let secret = line("charge-customer.secret");
            assert!(secret.starts_with("charge-customer.secret = \"***\" # "), "{secret}");
            assert!(secret.ends_with("quadrille.toml"), "{secret}");
            assert_eq!(
                line("charge-customer.timeout"),
                "charge-customer.timeout = \"2s\" # default"
            );
            let run = line("breaker.payment-gateway.run");
            assert!(run.starts_with("breaker.payment-gateway.run = 4 # "), "{run}");
        }
        // What is printed is a file of settings.
        std::fs::write(folder.file("again.toml"), &said).unwrap();
        let mut again = Command::new(program(Build::Shipped, worker));
        again.env_clear().arg("--print-settings").arg("--config").arg(folder.file("again.toml"));
        let again = again.output().await.expect("it runs");
        let again = String::from_utf8(again.stdout).expect("it prints text");
        let of_file = again.lines().find(|line| line.starts_with("worker.deadline = \"7s\""));
        assert!(of_file.is_some_and(|line| line.ends_with("again.toml")), "{again}");
    }
}
