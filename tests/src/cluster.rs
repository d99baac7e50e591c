//! Three real nats-servers on one machine that form a JetStream cluster.

use std::net::TcpListener;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::eventually::eventually;
use crate::server::{Server, Settings};

/// A JetStream cluster that has a leader and sees all of its nodes.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    /// `size` nodes named `n0`, `n1`, …, each of which knows the others' addresses. They do not
    /// tell clients about one another, so that a client that is to go through a proxy does.
    pub async fn start(size: usize) -> Self {
        let ports: Vec<u16> = free_ports(size);
        let routes: Vec<_> =
            ports.iter().map(|port| format!("nats-route://127.0.0.1:{port}")).collect();
        let settings = |at: usize| Settings {
            lines: format!(
                "server_name: n{at}\ncluster {{\n  name: tests\n  listen: 127.0.0.1:{}\n  \
                 routes: [{}]\n  no_advertise: true\n}}\n",
                ports[at],
                routes.join(", ")
            ),
            ..Settings::default()
        };
        let settings: Vec<_> = (0..size).map(settings).collect();
        let nodes = futures::future::try_join_all(settings.iter().map(Server::start_with)).await;
        let cluster = Self { nodes: nodes.unwrap_or_else(|error| panic!("{error:#}")) };
        cluster.ready().await;
        cluster
    }

    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Server::url).collect()
    }

    /// The nodes alone, for a caller that keeps them.
    pub fn into_nodes(self) -> Vec<Server> {
        self.nodes
    }

    /// The node of that name, as leaders are named: `n0`.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn node(&mut self, name: &str) -> &mut Server {
        let at: usize = name[1..].parse().expect("a node's name is n and a number");
        &mut self.nodes[at]
    }

    /// Waits until there is a meta leader, and every node follows it.
    pub async fn ready(&self) {
        eventually("the cluster has a leader and all of its nodes", async || {
            for (at, node) in self.nodes.iter().enumerate() {
                let page: Value = serde_json::from_str(&monitor(node, "/jsz").await?).ok()?;
                let meta = &page["meta_cluster"];
                let followers = meta["replicas"].as_array().map_or(&[][..], Vec::as_slice);
                let current = followers.iter().filter(|node| node["current"] == true).count();
                let leads = meta["leader"] == format!("n{at}");
                if leads && current + 1 == self.nodes.len() {
                    return Some(());
                }
            }
            None
        })
        .await;
    }
}

/// The body of a monitoring page such as `/jsz`; `None` where nobody answers.
async fn monitor(node: &Server, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(node.monitoring()).await.ok()?;
    let request = format!("GET {path} HTTP/1.0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}

/// Ports nobody listens on now; all held until all are known, so that they differ.
fn free_ports(count: usize) -> Vec<u16> {
    let listen = |_| TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listeners: Vec<_> = (0..count).map(listen).collect();
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    listeners.iter().map(port).collect()
}
