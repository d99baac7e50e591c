//! The flags and variables that name a broker and a login.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use quadrille::Flow;
use quadrille::nats::{Given, Names, NatsOptions};

/// Which broker, and what to log in with. No value of a variable is in the help, because it may be
/// secret.
#[derive(Clone, Default, Args)]
#[command(next_help_heading = "Broker")]
pub struct Target {
    /// The broker: nats://host:port, several separated by commas. Without it:
    /// nats://127.0.0.1:4222
    #[arg(long, global = true, value_name = "URL")]
    #[arg(env = "QUADRILLE_NATS__URL", hide_env_values = true)]
    pub nats: Option<String>,
    /// A `.creds` file to log in with
    #[arg(long, global = true, value_name = "FILE")]
    #[arg(env = "QUADRILLE_NATS__CREDENTIALS", hide_env_values = true)]
    pub creds: Option<PathBuf>,
    /// A saved context of the `nats` command, instead of a URL
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    #[command(flatten)]
    login: Login,
    /// Name of the flow's stream of events, where others have the usual one; its other streams and
    /// buckets begin with it
    #[arg(long, global = true, hide_short_help = true, value_name = "NAME")]
    pub flow_stream: Option<String>,
    /// What comes before every subject of the flow
    #[arg(long, global = true, hide_short_help = true, value_name = "PREFIX")]
    pub flow_prefix: Option<String>,
    #[command(flatten)]
    stock: Stock,
    /// Those of these flags that are on the command line itself.
    #[arg(skip)]
    pub(crate) on_the_line: Vec<&'static str>,
    /// The folder in which contexts are saved, if it is not ~/.config
    #[arg(long, global = true, env = "XDG_CONFIG_HOME", hide = true)]
    pub config_home: Option<PathBuf>,
}

/// The other ways to log in, as the workers' settings name them. In `--help`, but not in `-h`.
#[derive(Clone, Default, Args)]
#[command(next_help_heading = "Broker")]
struct Login {
    /// A user to log in as
    #[arg(long = "nats-user", global = true, hide_short_help = true, value_name = "USER")]
    #[arg(env = "QUADRILLE_NATS__USER", hide_env_values = true)]
    user: Option<String>,
    /// A file with the user's password
    #[arg(long = "nats-password-file", global = true, hide_short_help = true, value_name = "FILE")]
    #[arg(env = "QUADRILLE_NATS__PASSWORD_FILE", hide_env_values = true)]
    password_file: Option<PathBuf>,
    /// A file with a token to log in with
    #[arg(long = "nats-token-file", global = true, hide_short_help = true, value_name = "FILE")]
    #[arg(env = "QUADRILLE_NATS__TOKEN_FILE", hide_env_values = true)]
    token_file: Option<PathBuf>,
    /// A file with an nkey seed to log in with
    #[arg(long = "nats-nkey-file", global = true, hide_short_help = true, value_name = "FILE")]
    #[arg(env = "QUADRILLE_NATS__NKEY_FILE", hide_env_values = true)]
    nkey_file: Option<PathBuf>,
    /// A PEM file of root certificates, for a server with a private CA
    #[arg(long = "nats-ca", global = true, hide_short_help = true, value_name = "FILE")]
    #[arg(env = "QUADRILLE_NATS__CA", hide_env_values = true)]
    ca: Option<PathBuf>,
    /// A PEM file with the client's certificate
    #[arg(long = "nats-cert", global = true, hide_short_help = true, value_name = "FILE")]
    #[arg(env = "QUADRILLE_NATS__CERT", hide_env_values = true)]
    cert: Option<PathBuf>,
    /// A PEM file with the client's key
    #[arg(long = "nats-key", global = true, hide_short_help = true, value_name = "FILE")]
    #[arg(env = "QUADRILLE_NATS__KEY", hide_env_values = true)]
    key: Option<PathBuf>,
    /// The server expects TLS from the first byte on
    #[arg(long = "nats-tls-first", global = true, hide_short_help = true)]
    #[arg(env = "QUADRILLE_NATS__TLS_FIRST", hide_env_values = true)]
    tls_first: bool,
}

/// The variables of the `nats` command. An empty one counts as not set.
#[derive(Clone, Default, Args)]
struct Stock {
    /// NATS_URL of the `nats` command
    #[arg(long, global = true, hide = true, env = "NATS_URL", hide_env_values = true)]
    stock_url: Option<String>,
    /// NATS_CONTEXT of the `nats` command
    #[arg(long, global = true, hide = true, env = "NATS_CONTEXT", hide_env_values = true)]
    stock_context: Option<String>,
    /// NATS_USER of the `nats` command
    #[arg(long, global = true, hide = true, env = "NATS_USER", hide_env_values = true)]
    stock_user: Option<String>,
    /// NATS_PASSWORD of the `nats` command
    #[arg(long, global = true, hide = true, env = "NATS_PASSWORD", hide_env_values = true)]
    stock_password: Option<String>,
    /// NATS_TOKEN of the `nats` command
    #[arg(long, global = true, hide = true, env = "NATS_TOKEN", hide_env_values = true)]
    stock_token: Option<String>,
    /// NATS_CREDS of the `nats` command
    #[arg(long, global = true, hide = true, env = "NATS_CREDS", hide_env_values = true)]
    stock_creds: Option<String>,
    /// NATS_NKEY of the `nats` command
    #[arg(long, global = true, hide = true, env = "NATS_NKEY", hide_env_values = true)]
    stock_nkey: Option<String>,
    /// NATS_CA of the `nats` command
    #[arg(long, global = true, hide = true, env = "NATS_CA", hide_env_values = true)]
    stock_ca: Option<String>,
    /// NATS_CERT of the `nats` command
    #[arg(long, global = true, hide = true, env = "NATS_CERT", hide_env_values = true)]
    stock_cert: Option<String>,
    /// NATS_KEY of the `nats` command
    #[arg(long, global = true, hide = true, env = "NATS_KEY", hide_env_values = true)]
    stock_key: Option<String>,
}

impl std::fmt::Debug for Target {
    /// Without secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("given", &self.given()).finish_non_exhaustive()
    }
}

impl Target {
    /// The flags that name the same broker, each after a space; a URL with a login becomes `URL`.
    pub fn given(&self) -> String {
        let url = self.nats.as_deref().map(|url| if url.contains('@') { "URL" } else { url });
        let file = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let Login { user, password_file, token_file, nkey_file, ca, cert, key, tls_first } =
            &self.login;
        let flags = [
            ("--nats", url.map(str::to_owned)),
            ("--creds", file(&self.creds)),
            ("--context", self.context.clone()),
            ("--nats-user", user.clone()),
            ("--nats-password-file", file(password_file)),
            ("--nats-token-file", file(token_file)),
            ("--nats-nkey-file", file(nkey_file)),
            ("--nats-ca", file(ca)),
            ("--nats-cert", file(cert)),
            ("--nats-key", file(key)),
            ("--flow-stream", self.flow_stream.clone()),
            ("--flow-prefix", self.flow_prefix.clone()),
        ];
        let given = flags.into_iter().filter_map(|(flag, text)| Some(format!(" {flag} {}", text?)));
        given.chain(tls_first.then(|| " --nats-tls-first".to_owned())).collect()
    }

    /// Refuses flags that name a broker, for a command that talks to none that is named.
    ///
    /// # Errors
    /// When there is one on the command line.
    pub fn refuse(&self, command: &str, why: &str) -> anyhow::Result<()> {
        match self.on_the_line.first() {
            Some(flag) => anyhow::bail!("{flag} is not for `{command}`: {why}"),
            None => Ok(()),
        }
    }

    /// Which of these flags `matches` has from the command line.
    pub(crate) fn of_the_line(matches: &ArgMatches) -> Vec<&'static str> {
        let flags = [
            ("nats", "--nats"),
            ("creds", "--creds"),
            ("context", "--context"),
            ("user", "--nats-user"),
            ("password_file", "--nats-password-file"),
            ("token_file", "--nats-token-file"),
            ("nkey_file", "--nats-nkey-file"),
            ("ca", "--nats-ca"),
            ("cert", "--nats-cert"),
            ("key", "--nats-key"),
            ("tls_first", "--nats-tls-first"),
        ];
        let is_there = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        flags.into_iter().filter_map(|(id, flag)| is_there(id).then_some(flag)).collect()
    }

    /// What the streams and subjects of the flow are called.
    ///
    /// # Errors
    /// When a name has another form.
    pub fn names(&self, flow: &Flow) -> anyhow::Result<Names> {
        Ok(Names::new(flow, self.flow_stream.as_deref(), self.flow_prefix.as_deref())?)
    }

    /// `NATS_URL`.
    pub(super) fn stock_url(&self) -> Option<&str> {
        set(&self.stock.stock_url)
    }

    /// `NATS_CONTEXT`.
    pub(super) fn stock_context(&self) -> Option<&str> {
        set(&self.stock.stock_context)
    }

    /// Puts the login and certificates of our own flags and variables over those of `options`.
    pub(super) fn put_over(&self, options: &mut NatsOptions) {
        let Login { user, password_file, token_file, nkey_file, ca, cert, key, tls_first } =
            self.login.clone();
        let file = |path: Option<PathBuf>| path.map(Given::File);
        let own = NatsOptions {
            credentials: file(self.creds.clone()),
            user,
            password: file(password_file),
            token: file(token_file),
            nkey: file(nkey_file),
            ..NatsOptions::default()
        };
        if own.names_a_login() {
            take_login(options, own);
        }
        options.root_certificates = ca.or(options.root_certificates.take());
        if cert.is_some() || key.is_some() {
            (options.certificate, options.key) = (cert, key);
        }
        options.tls_first |= tls_first;
    }

    /// Fills in what `options` lacks from the variables of the `nats` command; says which of them
    /// names the login, if one does.
    pub(super) fn fill_in(&self, options: &mut NatsOptions) -> Option<&'static str> {
        let Stock { stock_ca, stock_cert, stock_key, .. } = &self.stock;
        let path = |given| set(given).map(super::context::expand);
        options.root_certificates = options.root_certificates.take().or_else(|| path(stock_ca));
        if options.certificate.is_none() && options.key.is_none() {
            (options.certificate, options.key) = (path(stock_cert), path(stock_key));
        }
        let in_the_url = options.urls.iter().any(|url| url.contains('@'));
        let (variable, login) = self.stock_login()?;
        if in_the_url || options.names_a_login() {
            return None;
        }
        take_login(options, login);
        Some(variable)
    }

    /// In the order of the `nats` command. A user without a password is a token there.
    fn stock_login(&self) -> Option<(&'static str, NatsOptions)> {
        let Stock { stock_user, stock_password, stock_token, stock_creds, stock_nkey, .. } =
            &self.stock;
        let text = |text: &str| Some(Given::Text(text.to_owned()));
        let file = |path: &str| Some(Given::File(super::context::expand(path)));
        let none = NatsOptions::default();
        if let (Some(user), Some(password)) = (set(stock_user), set(stock_password)) {
            let (user, password) = (Some(user.to_owned()), text(password));
            return Some(("NATS_USER", NatsOptions { user, password, ..none }));
        }
        if let Some(token) = set(stock_user) {
            return Some(("NATS_USER", NatsOptions { token: text(token), ..none }));
        }
        if let Some(path) = set(stock_creds) {
            return Some(("NATS_CREDS", NatsOptions { credentials: file(path), ..none }));
        }
        if let Some(path) = set(stock_nkey) {
            return Some(("NATS_NKEY", NatsOptions { nkey: file(path), ..none }));
        }
        let token = set(stock_token)?;
        Some(("NATS_TOKEN", NatsOptions { token: text(token), ..none }))
    }
}

fn set(variable: &Option<String>) -> Option<&str> {
    variable.as_deref().filter(|text| !text.is_empty())
}

fn take_login(options: &mut NatsOptions, login: NatsOptions) {
    let NatsOptions { credentials, nkey, user, password, token, .. } = login;
    options.credentials = credentials;
    options.nkey = nkey;
    options.user = user;
    options.password = password;
    options.token = token;
}
