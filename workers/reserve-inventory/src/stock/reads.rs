//! What a batch has to know before it can decide.

use std::collections::BTreeSet;

use schemas::order_fulfilment::FLOW;
use schemas::stock::{hold_subject, receipt_subject, sku_subject};

use super::Trouble;
use super::books::{Books, Hold, Known, Want};
use super::log::StockLog;

impl StockLog {
    /// Reads what is missing in the books: SKUs, then the holds of releases and of `fresh`
    /// requests, then the SKUs in those holds.
    ///
    /// The order matters, because an earlier attempt's hold may be stored meanwhile. If a level
    /// lacked its pieces and the hold were not seen, the order would be refused for what it holds
    /// itself. (A replaced leader can still show that; then the order is lost, but no stock.)
    pub(super) async fn read(
        &self,
        books: &mut Books,
        wants: &[&Want],
        fresh: &BTreeSet<usize>,
    ) -> Result<(), Trouble> {
        self.read_levels(books, wants).await?;
        let holds = wants.iter().enumerate().filter_map(|(at, want)| match want {
            Want::Release { order } | Want::Ship { order } => Some(order),
            Want::Hold { order, .. } => fresh.contains(&at).then_some(order),
            Want::Set { .. } | Want::Count { .. } => None,
            Want::Receive { .. } | Want::Delist { .. } => None,
        });
        let holds = holds.filter(|order| !books.holds.contains_key(order)).cloned().collect();
        let mut holds: Vec<(_, Known<Hold>)> = self.last_of(holds, hold_subject).await?;
        for hold in holds.iter_mut().filter_map(|(_, known)| known.value.as_mut()) {
            hold.left_behind = hold.log.as_ref().is_some_and(|log| *log != self.log);
        }
        if holds.iter().filter_map(|(_, known)| known.value.as_ref()).any(|hold| hold.left_behind) {
            self.orders_are_still_those().await?;
        }
        books.holds.extend(holds);
        let receipts = wants.iter().filter_map(|want| want.receipt());
        let receipts = receipts.filter(|receipt| !books.receipts.contains_key(*receipt)).cloned();
        let receipts = self.last_of(receipts.collect(), |receipt| receipt_subject(receipt)).await?;
        books.receipts.extend(receipts);
        self.read_levels(books, wants).await
    }

    /// Looks before a hold of another log is taken for one of a log that is no more: it may be this
    /// replica that has not heard yet of a newer one.
    async fn orders_are_still_those(&self) -> Result<(), Trouble> {
        let keys = self.broker.inspect(&FLOW, "reserve-inventory").await?.keys;
        match keys.map(|keys| keys.to_string()) {
            Some(keys) if keys == self.log => Ok(()),
            Some(_) => Err(Trouble::OtherOrders),
            None => Err(Trouble::NoKeys(self.log.clone())),
        }
    }

    async fn read_levels(&self, books: &mut Books, wants: &[&Want]) -> Result<(), Trouble> {
        let skus = books.unknown_skus(wants);
        books.levels.extend(self.last_of(skus, sku_subject).await?);
        Ok(())
    }
}
