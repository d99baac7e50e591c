//! What the stock is, for people, and what its records are: one that is junk is named, and harms
//! its own SKU alone.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use quadrille::SagaId;
use schemas::Sku;
use schemas::stock::{SKUS, STREAM, sku_subject};
use serde::de::DeserializeOwned;

use super::books::{Known, Piece};
use super::level::Level;
use super::{StockLog, Trouble};

/// SKUs in one request: the broker answers at most 1,024.
const SHOWN_AT_ONCE: usize = 1_000;
/// Reads from the leader that are under way at once.
const READS: usize = 64;

impl StockLog {
    /// The stock of these SKUs, or of every SKU for an empty list, in the order of their names;
    /// unknown ones are left out. Only for display, because another replica may have changed it
    /// meanwhile.
    ///
    /// # Errors
    /// When the broker gives no answer.
    pub async fn show(&self, skus: &[Sku]) -> Result<Vec<Level>, Trouble> {
        let subjects = match skus {
            [] => self.broker.subjects(STREAM, SKUS).await?,
            skus => skus.iter().map(sku_subject).collect(),
        };
        let mut levels = Vec::new();
        for subjects in subjects.chunks(SHOWN_AT_ONCE) {
            for stored in self.broker.last_of_many(STREAM, subjects.to_vec()).await? {
                match read::<Level>(&stored.payload) {
                    Some(level) => levels.push(level),
                    None => say_junk(&stored.subject),
                }
            }
        }
        levels.sort_by(|one, other| one.sku.cmp(&other.sku));
        Ok(levels)
    }

    /// The last record of each, from the leader.
    pub(super) async fn last_of<K: Ord, T: DeserializeOwned>(
        &self,
        keys: BTreeSet<K>,
        subject: fn(&K) -> String,
    ) -> Result<Vec<(K, Known<T>)>, Trouble> {
        let last = async |key: K| {
            let subject = subject(&key);
            let known = match self.broker.last(STREAM, &subject).await? {
                Some(stored) => {
                    let value = read(&stored.payload);
                    if value.is_none() {
                        say_junk(&subject);
                    }
                    Known { revision: stored.sequence, value }
                }
                None => Known::NONE,
            };
            Ok((key, known))
        };
        stream::iter(keys).map(last).buffer_unordered(READS).try_collect().await
    }
}

/// `None` for junk.
fn read<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    serde_json::from_slice(payload).ok()
}

fn say_junk(subject: &str) {
    tracing::error!(
        stream = STREAM,
        subject,
        "no stock record: its orders wait; count the pieces and set them with `quadrille stock set`"
    );
}

/// Pieces of completed orders that no level held, because it is junk or was lost meanwhile.
const UNHELD: &str = "quadrille_stock_unheld_pieces_total";

/// From the start, like every series.
pub(crate) fn start_series() {
    let says = "Pieces of completed orders that the stock did not know as held";
    metrics::describe_counter!(UNHELD, says);
    metrics::counter!(UNHELD).increment(0);
}

/// These could not be taken off the shelf.
pub(super) fn say_unheld(pieces: &[(SagaId, Piece)]) {
    for (order, Piece { sku, quantity }) in pieces {
        metrics::counter!(UNHELD).increment(*quantity);
        tracing::warn!(
            %order,
            %sku,
            quantity,
            "a completed order's pieces were not on the books: count this SKU again"
        );
    }
}
