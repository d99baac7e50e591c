//! The broker of `docker-compose.yml`, the official image, in a container for a test, because users
//! deploy it, and not the program that the other tests start.

use testcontainers::core::{IntoContainerPort as _, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _};

const COMPOSE: &str = include_str!("../../docker-compose.yml");
const CLIENTS: u16 = 4222;

/// A nats-server with JetStream, removed with this value.
#[derive(Debug)]
pub struct Container {
    _running: ContainerAsync<GenericImage>,
    url: String,
}

impl Container {
    /// # Panics
    /// When no Docker engine answers (`DOCKER_HOST`), or the image is not available; says why.
    pub async fn start() -> Self {
        let running = GenericImage::new("nats", tag())
            .with_exposed_port(CLIENTS.tcp())
            .with_wait_for(WaitFor::message_on_stderr("Server is ready"))
            .with_cmd(["--jetstream"])
            .start()
            .await
            .expect("a Docker engine with the image of nats-server");
        let host = running.get_host().await.expect("the engine's host");
        let port = running.get_host_port_ipv4(CLIENTS).await.expect("the port is published");
        Self { _running: running, url: format!("nats://{host}:{port}") }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }
}

fn tag() -> &'static str {
    let image = COMPOSE.lines().find_map(|line| line.trim().strip_prefix("image: nats:"));
    image.expect("docker-compose.yml names the image of nats-server")
}
