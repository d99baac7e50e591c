//! A rebuild beside rows that are read all the time: no read may fail, and none may see the past.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use quadrille::nats::NatsBroker;
use quadrille_projection::rusqlite::Connection;
use query::orders::ORDERS;
use schemas::order_fulfilment::FLOW;
use serde::{Deserialize, Serialize};

/// The longest that a read may take.
const LIMIT: Duration = Duration::from_secs(2);

/// What a reader saw that never stops.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Reads {
    pub(crate) all: u64,
    /// No answer, or one of an earlier place than the answer before.
    pub(crate) failed: u64,
    pub(crate) slowest_ms: f64,
}

pub(crate) struct Served {
    pub(crate) reads: Reads,
    /// Of the rebuild.
    pub(crate) seconds: f64,
    pub(crate) file: PathBuf,
}

pub(crate) async fn run(broker: Arc<NatsBroker>, folder: &Path) -> anyhow::Result<Served> {
    let (projection, runner) = quadrille_projection::open(&FLOW, &ORDERS.model, broker, folder)?;
    let asked = async {
        projection.serves().await;
        let builds = projection.status().builds;
        #[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
        let began = Instant::now();
        projection.rebuild();
        let (mut reads, mut newest) = (Reads::default(), 0);
        while projection.status().builds == builds {
            #[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
            let asked = Instant::now();
            let read = projection.read(LIMIT, newest_orders).await;
            reads.slowest_ms = reads.slowest_ms.max(asked.elapsed().as_secs_f64() * 1e3);
            reads.all += 1;
            let place = read.map(|(rows, place)| (rows, place.sequence));
            match place {
                Ok((1.., sequence)) if sequence >= newest => newest = sequence,
                Ok(_) | Err(_) => reads.failed += 1,
            }
        }
        reads.slowest_ms = reads.slowest_ms.round();
        (reads, began.elapsed().as_secs_f64())
    };
    let (done, is_done) = tokio::sync::oneshot::channel();
    let asked = async move {
        let asked = asked.await;
        let _ = done.send(());
        asked
    };
    let stop = async move { drop(is_done.await) };
    let file = projection.file().to_owned();
    let ((reads, seconds), ()) = tokio::join!(asked, runner.run(stop));
    Ok(Served { reads, seconds, file })
}

/// A page as the list of newest orders reads it; how many rows it has.
fn newest_orders(rows: &Connection) -> quadrille_projection::rusqlite::Result<usize> {
    let mut page = rows.prepare_cached(
        "SELECT saga, details FROM sagas ORDER BY opened_at DESC, opened DESC LIMIT 50",
    )?;
    let row = |row: &quadrille_projection::rusqlite::Row<'_>| row.get::<_, String>(0);
    Ok(page.query_map([], row)?.collect::<quadrille_projection::rusqlite::Result<Vec<_>>>()?.len())
}
