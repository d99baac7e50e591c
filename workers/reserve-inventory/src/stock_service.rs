//! The stock's endpoints `inventory.stock.set` and `inventory.stock.show`, for operators. No other
//! process writes the stock, so no other needs the right to. Requests and answers are those of
//! [`schemas::stock`].

use bytes::Bytes;
use quadrille::broker::{Request, ServiceError};
use schemas::Sku;
use schemas::stock::{MOST_SKUS, SET, SHOW, Set, Show, Shown};
use tokio::sync::mpsc;

use crate::stock::{Level, No, Pieces, StockLog, Trouble};

pub use schemas::stock::{ENDPOINTS, PREFIX};

impl From<Level> for Shown {
    fn from(level: Level) -> Self {
        let held = level.held();
        Self { sku: level.sku, stocked: level.stocked, free: level.free, held }
    }
}

/// Answers requests, one after the other, until no more can arrive.
pub async fn serve(mut requests: mpsc::Receiver<Request>, stock: StockLog) {
    while let Some(request) = requests.recv().await {
        let endpoint = request.subject.rsplit('.').next().unwrap_or_default();
        let answer = answer(&stock, endpoint, &request.payload).await;
        request.respond(answer);
    }
}

/// The answer of one endpoint: 400 for what cannot be read, 409 for less than is held, 503 for
/// "try again".
async fn answer(stock: &StockLog, endpoint: &str, payload: &[u8]) -> Result<Bytes, ServiceError> {
    let skus = match endpoint {
        SET => set(stock, payload).await?,
        SHOW => wanted(payload)?,
        _ => return Err(bad("there are set and show")),
    };
    let levels = stock.show(&skus).await.map_err(unavailable)?;
    let shown: Vec<Shown> = levels.into_iter().map(Shown::from).collect();
    Ok(serde_json::to_vec(&shown).expect("plain structs always serialise").into())
}

/// Sets, and returns the SKUs that were set.
async fn set(stock: &StockLog, payload: &[u8]) -> Result<Vec<Sku>, ServiceError> {
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
    stock.set(pieces, false).await.map_err(unavailable)?.map_err(refused)?;
    Ok(skus)
}

fn wanted(payload: &[u8]) -> Result<Vec<Sku>, ServiceError> {
    let form = r#"must be {"sku": …}, {"skus": […]} or {}"#;
    let Show { sku, mut skus } = match payload {
        [] => Show::default(),
        payload => serde_json::from_slice(payload).map_err(|_| bad(form))?,
    };
    skus.extend(sku);
    if skus.len() > MOST_SKUS { Err(bad("skus must be at most 1,000")) } else { Ok(skus) }
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
