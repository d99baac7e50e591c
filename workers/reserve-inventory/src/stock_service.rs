//! The stock's endpoints `inventory.stock.set`, `.count`, `.receive`, `.delist` and `.show`. No
//! other process writes the stock, so no other needs the right to. Requests and answers are those
//! of [`schemas::stock`].

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use quadrille::broker::{Request, ServiceError};
use schemas::Sku;
use schemas::stock::{
    COUNT, Count, DELIST, Delist, MOST_SKUS, RECEIVE, Receive, SET, SHOW, Set, Show, Shown,
};
use tokio::sync::{Mutex, mpsc};

use crate::shelf::Shelf;
use crate::stock::{Counts, Level, No, Pieces, StockLog, Trouble};

pub use schemas::stock::{ENDPOINTS, PREFIX};

impl From<Level> for Shown {
    fn from(level: Level) -> Self {
        let held = level.held();
        let Level { sku, stocked, free, delisted, .. } = level;
        Self { sku, stocked, free, held, state: None, delisted, repeated: false }
    }
}

/// Requests in hand at once, so that what is shown need not wait for one that waits for the shelf.
const AT_ONCE: usize = 16;

/// Answers requests until no more can arrive. Those that write take turns as they came: one that
/// waits for the shelf may have been given up by its client, and must not undo what was set later.
pub async fn serve(mut requests: mpsc::Receiver<Request>, stock: Arc<StockLog>, shelf: Arc<Shelf>) {
    let requests = stream::poll_fn(|context| requests.poll_recv(context));
    let turns = Mutex::new(());
    let answered = requests.for_each_concurrent(AT_ONCE, async |request| {
        let endpoint = request.subject.rsplit('.').next().unwrap_or_default();
        let _turn = if endpoint == SHOW { None } else { Some(turns.lock().await) };
        let answer = answer(&stock, &shelf, endpoint, &request.payload).await;
        request.respond(answer);
    });
    answered.await;
}

/// The answer of one endpoint: 400 for what cannot be read, 409 for what does not fit the stock,
/// 503 for "try again".
async fn answer(
    stock: &StockLog,
    shelf: &Shelf,
    endpoint: &str,
    payload: &[u8],
) -> Result<Bytes, ServiceError> {
    let (skus, repeated) = match endpoint {
        SET => (set(stock, shelf, payload).await?, false),
        COUNT => (count(stock, payload).await?, false),
        RECEIVE => receive(stock, payload).await?,
        DELIST => (delist(stock, payload).await?, false),
        SHOW => return show(stock, shelf, payload).await,
        _ => return Err(bad("there are set, count, receive, delist and show")),
    };
    let levels = stock.show(&skus).await.map_err(unavailable)?;
    let shown = levels.into_iter().map(|level| Shown { repeated, ..Shown::from(level) });
    Ok(told(&shown.collect::<Vec<_>>()))
}

async fn show(stock: &StockLog, shelf: &Shelf, payload: &[u8]) -> Result<Bytes, ServiceError> {
    let (skus, states) = wanted(payload)?;
    // A state is one without the pieces of what was completed before: these are not counted, and
    // would otherwise be taken off what was.
    let states = states && shelf.is_clear().await.is_ok();
    let shown = stock.show(&skus).await.map_err(unavailable)?.into_iter().map(|level| {
        let state = states.then(|| level.state());
        Shown { state, ..Shown::from(level) }
    });
    Ok(told(&shown.collect::<Vec<_>>()))
}

fn told(shown: &[Shown]) -> Bytes {
    serde_json::to_vec(shown).expect("plain structs always serialise").into()
}

/// Sets, and returns the SKUs that were set.
///
/// What lies on the shelf was counted without the pieces of completed orders, so these are taken
/// off first: otherwise they would be taken off what was counted.
async fn set(stock: &StockLog, shelf: &Shelf, payload: &[u8]) -> Result<Vec<Sku>, ServiceError> {
    let form = r#"must be {"sku": …, "stocked": …} or {"items": [{"sku": …, "stocked": …}, …]}"#;
    let items = match serde_json::from_slice(payload).map_err(|_| bad(form))? {
        Set::One(item) => vec![item],
        Set::Many { items } => items,
    };
    let count = items.len();
    let pieces: Pieces = items.into_iter().map(|item| (item.sku, item.stocked)).collect();
    if pieces.len() != count || !(1..=MOST_SKUS).contains(&count) {
        return Err(bad("items must be 1 to 1,000 of different SKUs"));
    }
    let skus = pieces.keys().cloned().collect();
    shelf.is_clear().await.map_err(unavailable)?;
    stock.set(pieces, false).await.map_err(unavailable)?.map_err(refused)?;
    Ok(skus)
}

async fn count(stock: &StockLog, payload: &[u8]) -> Result<Vec<Sku>, ServiceError> {
    let form = r#"must be {"items": [{"sku": …, "pieces": …, "state": "1000-48213"}, …]}"#;
    let Count { items } = serde_json::from_slice(payload).map_err(|_| bad(form))?;
    let count = items.len();
    let items = items.into_iter().map(|item| (item.sku, (item.pieces, item.state)));
    let counted: Counts = items.collect();
    if counted.len() != count || !(1..=MOST_SKUS).contains(&count) {
        return Err(bad("items must be 1 to 1,000 of different SKUs"));
    }
    let skus = counted.keys().cloned().collect();
    stock.count(counted).await.map_err(unavailable)?.map_err(refused)?;
    Ok(skus)
}

/// And whether the delivery was added before. Requests that write take turns, so only another
/// replica could add it between the two.
async fn receive(stock: &StockLog, payload: &[u8]) -> Result<(Vec<Sku>, bool), ServiceError> {
    let form = r#"must be {"receipt": …, "items": [{"sku": …, "pieces": …}, …]}"#;
    let Receive { receipt, items } = serde_json::from_slice(payload).map_err(|_| bad(form))?;
    if !(1..=64).contains(&receipt.len()) {
        return Err(bad("a receipt is 1 to 64 bytes, another one for each delivery"));
    }
    let count = items.len();
    let pieces: Pieces = items.into_iter().map(|item| (item.sku, item.pieces)).collect();
    if pieces.len() != count || !(1..=MOST_SKUS).contains(&count) {
        return Err(bad("items must be 1 to 1,000 of different SKUs"));
    }
    let skus = pieces.keys().cloned().collect();
    let repeated = stock.has_receipt(&receipt).await.map_err(unavailable)?;
    stock.receive(pieces, receipt).await.map_err(unavailable)?.map_err(refused)?;
    Ok((skus, repeated))
}

async fn delist(stock: &StockLog, payload: &[u8]) -> Result<Vec<Sku>, ServiceError> {
    let form = r#"must be {"skus": […]}"#;
    let Delist { skus } = serde_json::from_slice(payload).map_err(|_| bad(form))?;
    if !(1..=MOST_SKUS).contains(&skus.len()) {
        return Err(bad("skus must be 1 to 1,000"));
    }
    stock.delist(skus.clone()).await.map_err(unavailable)?.map_err(refused)?;
    Ok(skus)
}

/// Whose stock, and whether with states.
fn wanted(payload: &[u8]) -> Result<(Vec<Sku>, bool), ServiceError> {
    let form = r#"must be {"sku": …}, {"skus": […]} or {}"#;
    let Show { sku, mut skus, states } = match payload {
        [] => Show::default(),
        payload => serde_json::from_slice(payload).map_err(|_| bad(form))?,
    };
    skus.extend(sku);
    if skus.len() > MOST_SKUS {
        return Err(bad("skus must be at most 1,000"));
    }
    Ok((skus, states))
}

fn bad(message: &str) -> ServiceError {
    ServiceError { code: 400, message: message.to_owned() }
}

fn refused(no: No) -> ServiceError {
    ServiceError { code: 409, message: no.to_string() }
}

fn unavailable(trouble: Trouble) -> ServiceError {
    ServiceError { code: 503, message: trouble.to_string() }
}

/// Creates those SKUs of `ROSE-RED=1000,VASE-GLASS=500` that do not exist yet.
///
/// # Errors
/// When the text has another form, or the stock cannot be changed now.
pub async fn open(stock: &StockLog, text: &str) -> anyhow::Result<()> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let pieces = items.map(|item| {
        let wrong = || anyhow::anyhow!("opening_stock: {item:?} must be SKU=PIECES");
        let (sku, stocked) = item.rsplit_once('=').ok_or_else(wrong)?;
        let sku: Sku = sku.parse().map_err(|_| wrong())?;
        let stocked: u64 = stocked.parse().map_err(|_| wrong())?;
        Ok((sku, stocked))
    });
    let pieces = pieces.collect::<anyhow::Result<Pieces>>()?;
    anyhow::ensure!(pieces.len() <= MOST_SKUS, "opening_stock: at most {MOST_SKUS} SKUs");
    Ok(stock.set(pieces, true).await??)
}
