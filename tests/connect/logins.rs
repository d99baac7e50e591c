//! Each way to log in: the workers, both services and the tool take the same settings, and the
//! demo runs.

use harness::folder::Folder;

use crate::shop::{Shop, quadrille, server};
use crate::{fixture, path};

const PASSWORD: &str = "p@ss#1/w%é";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_and_a_password_in_the_url() {
    let users =
        format!("authorization {{ users: [{{ user: \"qu:ad\", password: {PASSWORD:?} }}] }}");
    let server = server(&users).await;
    let (_, address) =
        server.url().split_once("://").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let without = quadrille(&vec![("QUADRILLE_NATS__URL", server.url())], "topology plan").await;
    assert!(
        without.stderr.contains("authorization violation (no login was given)"),
        "{}",
        without.stderr
    );
    let url = format!("nats://qu%3Aad:p%40ss%231%2Fw%25%C3%A9@{address}");
    let shop = Shop::open(server, vec![("QUADRILLE_NATS__URL", url.clone())]).await;
    shop.demo().await;
    // The variable of the stock client does as well.
    let stock = quadrille(&vec![("NATS_URL", url)], "topology plan").await;
    assert_eq!(stock.code, Some(0), "{}", stock.stderr);
    assert!(
        stock.stderr.contains(&format!("nats://…@{address} (from NATS_URL)")),
        "{}",
        stock.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_in_a_file_or_in_the_url() {
    let server = server("authorization { token: \"t0ken\" }").await;
    let folder = Folder::new("quadrille-");
    std::fs::write(folder.file("token"), "t0ken\n").unwrap();
    let url = server.url();
    let in_the_url = vec![("QUADRILLE_NATS__URL", url.replace("://", "://t0ken@"))];
    let file = folder.file("token").display().to_string();
    let variables = vec![("QUADRILLE_NATS__URL", url), ("QUADRILLE_NATS__TOKEN_FILE", file)];
    let shop = Shop::open(server, variables).await;
    shop.demo().await;
    assert_eq!(quadrille(&in_the_url, "topology plan").await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_and_a_private_ca() {
    let operator = std::fs::read_to_string(fixture("operator.conf")).unwrap();
    let tls = format!(
        "tls {{ cert_file: {:?}, key_file: {:?} }}",
        fixture("server.pem"),
        fixture("server-key.pem")
    );
    let server = server(&format!("{operator}\n{tls}")).await;
    let mut variables = vec![
        ("QUADRILLE_NATS__URL", server.url()),
        ("QUADRILLE_NATS__CREDENTIALS", path("user.creds")),
    ];
    let stranger = quadrille(&variables, "topology plan").await;
    assert!(stranger.stderr.contains("a private CA must be named"), "{}", stranger.stderr);
    variables.push(("QUADRILLE_NATS__CA", path("ca.pem")));
    let shop = Shop::open(server, variables).await;
    shop.demo().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_first_and_a_client_certificate() {
    let tls = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true, \
         handshake_first: true }}",
        fixture("server.pem"),
        fixture("server-key.pem"),
        fixture("ca.pem")
    );
    let server = server(&tls).await;
    let mut variables = vec![
        ("QUADRILLE_NATS__URL", server.url()),
        ("QUADRILLE_NATS__CA", path("ca.pem")),
        ("QUADRILLE_NATS__CERT", path("client.pem")),
        ("QUADRILLE_NATS__KEY", path("client-key.pem")),
    ];
    let late = quadrille(&variables, "topology plan").await;
    assert!(late.stderr.contains("does the server expect TLS first?"), "{}", late.stderr);
    variables.push(("QUADRILLE_NATS__TLS_FIRST", "true".to_owned()));
    let shop = Shop::open(server, variables).await;
    shop.demo().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_in_a_login_is_named_before_anything_is_asked() {
    let user = ("QUADRILLE_NATS__USER", "me".to_owned());
    let password = ("QUADRILLE_NATS__PASSWORD_FILE", "/nowhere/password".to_owned());
    let plain = ("QUADRILLE_NATS__URL", "nats://127.0.0.1:1".to_owned());
    let login = ("QUADRILLE_NATS__URL", "nats://me:x@127.0.0.1:1".to_owned());
    let ca = ("QUADRILLE_NATS__CA", "/nowhere/ca.pem".to_owned());
    let cert = ("QUADRILLE_NATS__CERT", path("client.pem"));
    let creds = ("QUADRILLE_NATS__CREDENTIALS", path("ca.pem"));
    for (variables, named) in [
        (vec![plain.clone(), password.clone()], "a password is given, but no user"),
        (vec![plain.clone(), user.clone(), password], "the password cannot be read from /nowhere"),
        (vec![login, user], "the URL names a login, and the settings name another"),
        (vec![plain.clone(), ca], "the CA certificate cannot be read from /nowhere/ca.pem"),
        (vec![plain.clone(), cert], "a client certificate needs its key"),
        (vec![plain, creds], "no JWT and seed in the credentials of"),
    ] {
        let said = quadrille(&variables, "topology plan").await;
        assert_eq!(said.code, Some(1));
        assert!(said.stderr.contains(named), "{named}: {}", said.stderr);
    }
    let both = quadrille(&Vec::new(), "topology plan --nats nats://a --context b").await;
    assert_eq!(both.code, Some(2));
    assert!(both.stderr.contains("--nats and --context name a broker each"), "{}", both.stderr);
}
