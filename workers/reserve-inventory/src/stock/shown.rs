//! What the stock is, for people, and what its records are: one that is junk is named, and harms
//! its own SKU alone.

use schemas::Sku;
use schemas::stock::{SKUS, STREAM, sku_subject};
use serde::de::DeserializeOwned;

use super::books::Level;
use super::{StockLog, Trouble};

/// SKUs in one request: the broker answers at most 1,024.
const SHOWN_AT_ONCE: usize = 1_000;

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
}

/// `None` for junk.
pub(super) fn read<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    serde_json::from_slice(payload).ok()
}

pub(super) fn say_junk(subject: &str) {
    tracing::error!(
        stream = STREAM,
        subject,
        "no stock record: its orders wait; count the pieces and set them with `stock set`"
    );
}
