//! Restores a stream from a backup, in the form that stock tools write: its settings and state as
//! JSON, and its messages in the server's own form.

use std::io::Read;

use async_nats::{Client, RequestErrorKind};
use serde::Deserialize;
use serde_json::{Value, json};

use super::NatsBroker;
use super::api::{self, ANSWER_TIME, ApiError};
use crate::broker::Unavailable;

/// Bytes sent at once: below the usual `max_payload` of 1 MiB.
const CHUNK: usize = 128 * 1024;

impl NatsBroker {
    /// Restores `stream`, which must not exist, as one copy without a limit of its size.
    /// `manifest` has its `config` and `state`.
    ///
    /// # Errors
    /// When the server does not take it: the data are damaged or not whole, or it gives no answer.
    pub async fn restore(
        &self,
        stream: &str,
        mut manifest: Value,
        mut data: impl Read + Send,
    ) -> Result<(), Unavailable> {
        #[derive(Deserialize)]
        struct Answer {
            deliver_subject: String,
        }
        // Stock tools note where a backup is from beside these two, which the server does not know.
        manifest = json!({ "config": manifest["config"], "state": manifest["state"] });
        let config = &mut manifest["config"];
        (config["num_replicas"], config["max_bytes"]) = (json!(1), json!(-1));
        for of_the_old_place in ["placement", "mirror", "sources", "republish"] {
            config.as_object_mut().map(|config| config.remove(of_the_old_place));
        }
        let subject = format!("$JS.API.STREAM.RESTORE.{}", self.names.stream(stream));
        let answer = api::request::<Answer>(&self.client, subject, manifest.to_string()).await;
        let answer = answer.found(&[])?;
        let Answer { deliver_subject } =
            answer.ok_or_else(|| Unavailable("no place to send the backup to".to_owned()))?;
        let mut chunk = vec![0; CHUNK];
        loop {
            let length = data.read(&mut chunk).map_err(|error| Unavailable(error.to_string()))?;
            send(&self.client, &deliver_subject, &chunk[..length]).await?;
            // The empty one says that this was all.
            if length == 0 {
                return Ok(());
            }
        }
    }
}

async fn send(client: &Client, subject: &str, chunk: &[u8]) -> Result<(), Unavailable> {
    #[derive(Deserialize)]
    struct Answer {
        error: Option<ApiError>,
    }
    let request = client.request(subject.to_owned(), chunk.to_vec().into());
    let answer = match tokio::time::timeout(6 * ANSWER_TIME, request).await {
        Err(_) => return Err(Unavailable("the restore timed out".to_owned())),
        Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
            return Err(Unavailable("the server gave the restore up".to_owned()));
        }
        Ok(Err(error)) => return Err(Unavailable(error.to_string())),
        Ok(Ok(answer)) => answer,
    };
    match serde_json::from_slice(&answer.payload) {
        Ok(Answer { error: Some(error) }) => Err(error.into()),
        // A chunk that was taken is answered with nothing.
        Ok(Answer { error: None }) | Err(_) => Ok(()),
    }
}
