//! The log, page by page, from one place on; the next page is fetched while the last one is
//! applied.

use std::sync::{Arc, Mutex};

use quadrille::broker::{Broker, Care, Page, Unavailable};

use crate::shelf::{MOST_RANGES, Shelf};

/// Messages of a page: what the broker answers in one request, and what one transaction applies.
pub(crate) const MOST: usize = 1_024;

/// Reads the stream of a flow.
#[derive(Clone)]
pub(crate) struct Pages {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) stream: &'static str,
    pub(crate) shelf: Arc<Mutex<Shelf>>,
    ranges: Arc<Mutex<Vec<(u64, u64)>>>,
}

impl Pages {
    pub(crate) fn new(broker: Arc<dyn Broker>, stream: &'static str, shelf: Shelf) -> Self {
        let ranges = Arc::new(Mutex::new(shelf.ranges()));
        Self { broker, stream, shelf: Arc::new(Mutex::new(shelf)), ranges }
    }

    /// The page from this sequence on. After a failure the same messages are read with care,
    /// because one of them may have ended the connection, and with it, perhaps, the process.
    pub(crate) async fn read(&self, from: u64) -> Result<Page, Unavailable> {
        let (care, most) = self.care(from);
        let page = self.broker.read_page(self.stream, from, most, care).await;
        if page.is_err() && care == Care::Fast {
            self.be_careful(from);
        }
        page
    }

    /// Fast, up to the next range that needs care.
    fn care(&self, from: u64) -> (Care, usize) {
        let Ok(ranges) = self.ranges.lock() else { return (Care::Careful, MOST) };
        if let Some((_, to)) = ranges.iter().find(|(start, to)| (*start..*to).contains(&from)) {
            // Short, so that the rows go on meanwhile; at least two, because a follower's page
            // begins with a message that it has.
            return (Care::Careful, (to - from).clamp(2, 128) as usize);
        }
        let next = ranges.iter().map(|(start, _)| *start).filter(|start| *start > from).min();
        match next.map_or(MOST as u64, |next| (next - from).min(MOST as u64)) {
            0..2 => (Care::Careful, 2),
            most => (Care::Fast, most as usize),
        }
    }

    fn be_careful(&self, from: u64) {
        let (Ok(mut ranges), Ok(shelf)) = (self.ranges.lock(), self.shelf.lock()) else { return };
        if !ranges.iter().any(|(start, _)| *start == from) {
            ranges.push((from, from + MOST as u64));
            if ranges.len() > MOST_RANGES {
                ranges.remove(0);
            }
            shelf.keep_ranges(&ranges);
        }
    }
}
