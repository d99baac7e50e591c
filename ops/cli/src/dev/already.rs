//! What an earlier run has left behind: messages that were set aside, durables that are paused. The
//! news tells only what happens from now on.

use quadrille::broker::{Broker, Pause};
use quadrille::nats::NatsBroker;
use quadrille_tool::output::{BAD, Ui, WAITS};
use quadrille_tool::parked;
use schemas::order_fulfilment::FLOW;

/// Tells it, in a line each, or why it cannot; `tool` is this program as its user types it.
pub(super) async fn tell(broker: &NatsBroker, tool: &str, ui: Ui) {
    if let Err(error) = look(broker, tool, ui).await {
        ui.note(format!(
            "cannot tell what an earlier run has left: {error:#}; `{tool} parked ls` and `{tool} \
             breaker show` say it"
        ));
    }
}

async fn look(broker: &NatsBroker, tool: &str, ui: Ui) -> anyhow::Result<()> {
    let waiting = parked::waiting(broker, &FLOW, ui).await?;
    if let Some(one) = waiting.first() {
        let count = match waiting.len() {
            1 => format!("1 message is set aside already, of {one}"),
            count => format!("{count} messages are set aside already, such as one of {one}"),
        };
        let text = format!("{count}; `{tool} parked ls` lists what waits for a human");
        ui.note(ui.on_stderr.paint(BAD, text));
    }
    for durable in FLOW.durables(None) {
        let state = broker.durable(&durable.stream, &durable.name).await?;
        if state.is_some_and(|state| state.pause != Pause::Off) {
            let text =
                format!("{} is paused already; `{tool} breaker show` says why", durable.name);
            ui.note(ui.on_stderr.paint(WAITS, text));
        }
    }
    Ok(())
}
