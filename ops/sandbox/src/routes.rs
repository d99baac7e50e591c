//! The paths of all services: from an HTTP request to a change or a question, and to its reply.
//!
//! A module above the services, because a route needs `exchange`, which needs `world`, which needs
//! the services. So the services themselves never learn how a request reaches them.

mod payment;
mod carrier;
mod quote;

use std::sync::Arc;

use axum::Router;

use crate::exchange::App;

/// The routes of each service, under its name.
pub(crate) fn services() -> Router<Arc<App>> {
    Router::new()
        .nest("/payment", payment::routes())
        .nest("/carrier", carrier::routes())
        .nest("/quote", quote::routes())
}
