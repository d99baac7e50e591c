//! The stock's endpoints `inventory.stock.set` and `inventory.stock.show`, for operators: nobody
//! else writes the stock, so nobody else needs the right to.

use bytes::Bytes;
use quadrille::broker::{Request, ServiceError};
use quadrille::step::StepError;
use schemas::Sku;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::stock::{Level, StockLog};

/// Begins the subjects of [`ENDPOINTS`].
pub const PREFIX: &str = "inventory.stock";
/// `set` takes [`Set`], `show` takes [`Show`]; both answer a list of [`Shown`].
pub const ENDPOINTS: &[&str] = &["set", "show"];

/// Sets what is stocked, held pieces included; at most 1,000 items.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    pub items: Vec<Item>,
}

/// One SKU to set.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    pub sku: Sku,
    /// Pieces.
    pub stocked: u64,
}

/// Shows these SKUs; all of them, at most 1,024, for none.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Show {
    pub skus: Vec<Sku>,
}

/// The stock of one SKU, in pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub sku: Sku,
    pub stocked: u64,
    pub free: u64,
    pub held: u64,
}

impl From<Level> for Shown {
    fn from(level: Level) -> Self {
        let held = level.held();
        Self { sku: level.sku, stocked: level.stocked, free: level.free, held }
    }
}

/// Answers requests, one after the other, until nobody can ask any more.
pub async fn serve(mut requests: mpsc::Receiver<Request>, stock: StockLog) {
    while let Some(request) = requests.recv().await {
        let answer = answer(&stock, &request).await;
        request.respond(answer);
    }
}

async fn answer(stock: &StockLog, request: &Request) -> Result<Bytes, ServiceError> {
    let shown = match request.subject.rsplit('.').next() {
        Some("set") => set(stock, &request.payload).await?,
        _ => {
            let show = match request.payload.as_ref() {
                [] => Show::default(),
                payload => read(payload)?,
            };
            stock.show(&show.skus).await.map_err(unavailable)?
        }
    };
    let shown: Vec<Shown> = shown.into_iter().map(Shown::from).collect();
    Ok(serde_json::to_vec(&shown).expect("plain structs always serialise").into())
}

async fn set(stock: &StockLog, payload: &[u8]) -> Result<Vec<Level>, ServiceError> {
    let set: Set = read(payload)?;
    if set.items.is_empty() || set.items.len() > 1_000 {
        return Err(bad("items must be 1 to 1,000".into()));
    }
    let skus: Vec<Sku> = set.items.iter().map(|item| item.sku.clone()).collect();
    for Item { sku, stocked } in set.items {
        let name = sku.clone();
        if let Err(held) = stock.set(sku, stocked, false).await.map_err(unavailable)? {
            let message = format!("{name}: orders hold {held}, so {stocked} cannot be stocked");
            return Err(ServiceError { code: 409, message });
        }
    }
    stock.show(&skus).await.map_err(unavailable)
}

fn read<'p, T: Deserialize<'p>>(payload: &'p [u8]) -> Result<T, ServiceError> {
    serde_json::from_slice(payload).map_err(|error| bad(error.to_string()))
}

fn bad(message: String) -> ServiceError {
    ServiceError { code: 400, message }
}

fn unavailable(error: StepError) -> ServiceError {
    let message = match error {
        StepError::TryAgain { source, .. } => source.to_string(),
        StepError::BadMessage(why) => why,
        StepError::Superseded => "superseded".into(),
    };
    ServiceError { code: 503, message }
}

/// Makes the SKUs of `ROSE-RED=1000,VASE-GLASS=500` that do not exist yet.
///
/// # Errors
/// When the text has another form, or the broker gives no answer.
pub async fn open(stock: &StockLog, text: &str) -> anyhow::Result<()> {
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let wrong = || anyhow::anyhow!("opening_stock: {item:?} must be SKU=PIECES");
        let (sku, stocked) = item.rsplit_once('=').ok_or_else(wrong)?;
        let sku = sku.parse().map_err(|_| wrong())?;
        let stocked = stocked.parse().map_err(|_| wrong())?;
        let opened = stock.set(sku, stocked, true).await;
        let opened = opened.map_err(|error| anyhow::anyhow!(unavailable(error).message))?;
        opened.map_err(|_| anyhow::anyhow!("an opening never lowers a stock"))?;
    }
    Ok(())
}
