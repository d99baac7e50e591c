//! What an operator should know about a broker that is as the flow needs it: no plan mends it.

use super::NatsBroker;
use super::changes::{Lasting, stream_changes};
use crate::broker::{Pause, Unavailable};
use crate::nats::inspect;
use crate::topology::Topology;

/// One sentence each: a size or a number of copies that was asked for and is not given, because
/// what exists is kept on purpose; a stream that is nearly full, a durable that is paused, and one
/// that stands behind the end of its stream, because the stream came back shorter.
///
/// # Errors
/// When the broker does not answer.
pub async fn concerns(
    broker: &NatsBroker,
    topology: &Topology,
) -> Result<Vec<String>, Unavailable> {
    let (client, names) = (&broker.client, &broker.names);
    let mut concerns = not_given(broker, topology).await?;
    for usual in topology.streams() {
        let spec = names.stream_spec(usual);
        let Some(state) = inspect::state(client, &spec.name, &spec.name).await? else { continue };
        if let Some(limit) = state.max_bytes.filter(|_| state.is_nearly_full()) {
            let (name, percent) = (&spec.name, state.bytes.saturating_mul(100) / limit.max(1));
            concerns.push(format!(
                "stream {name} is {percent} % full, {} of {limit} bytes: at 100 % it refuses what \
                 comes next; raise its max_bytes",
                state.bytes,
            ));
        }
    }
    for usual in topology.durables(None) {
        let spec = names.durable_spec(usual);
        let Some(live) = inspect::durable(client, &spec.stream, &spec.name).await? else {
            continue;
        };
        let (durable, stream) = (&spec.name, &spec.stream);
        if let Pause::On { remaining, .. } = live.pause() {
            let seconds = remaining.as_secs();
            concerns.push(format!(
                "durable {durable} is paused for another {seconds} s: by the circuit breaker, \
                 whose pauses are short, or by a client; `nats consumer resume {stream} {durable}` \
                 ends it"
            ));
        }
        let Some(state) = inspect::state(client, stream, stream).await? else { continue };
        let read = live.delivered.stream_seq;
        if read > state.last_sequence {
            concerns.push(format!(
                "durable {durable} has read up to {read}, and stream {stream} ends at {}: it came \
                 back shorter, and acknowledged events are lost",
                state.last_sequence,
            ));
        }
    }
    Ok(concerns)
}

/// What was asked for, and stays as it is.
async fn not_given(broker: &NatsBroker, topology: &Topology) -> Result<Vec<String>, Unavailable> {
    let mut left = Vec::new();
    for usual in topology.streams().into_iter().chain(topology.buckets()) {
        let keeps_bytes = topology.keeps_bytes(&usual);
        let spec = broker.names.stream_spec(usual);
        let Some(live) = inspect::stream(&broker.client, &spec.name).await? else { continue };
        for found in stream_changes(&spec, &live) {
            match found {
                Lasting::Leave { key: "max_bytes", .. } if keeps_bytes => {}
                Lasting::Leave { key: "num_replicas", .. } if topology.keep.replicas => {}
                Lasting::Leave { sentence, .. } => left.push(sentence),
                Lasting::Update { .. } | Lasting::Refuse(_) => {}
            }
        }
    }
    Ok(left)
}
