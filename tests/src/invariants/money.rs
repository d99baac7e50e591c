//! Money: held at the price of the order if it is completed, and not at all if it is not.

use super::{Effect, Findings, Rule, story::Story};

pub(super) fn check(story: &Story<'_>, found: &mut Findings) {
    let sum =
        |name: &str| -> u64 { story.effects_of(name).filter_map(|effect| effect.amount).sum() };
    let (captured, refunded) = (sum("captured"), sum("refunded"));
    let captures = story.effects_of("captured").count();
    found.demand(captures <= 1, Rule::Money, story, format!("{captures} captures"));
    let what = format!("{refunded} refunded of {captured} captured");
    found.demand(refunded <= captured, Rule::Money, story, what);
    let Some(price) = story.placed.as_ref().and_then(|placed| placed.total().ok()) else {
        let what = format!("{captured} captured for an order that cannot be read");
        return found.demand(captures == 0, Rule::Money, story, what);
    };
    let owed = if story.completed() { price.amount.unsigned_abs() } else { 0 };
    let held = captured.saturating_sub(refunded);
    // An order that is still open, and parked, may hold what it has paid so far.
    let open = !story.completed() && !story.cancelled();
    let what = format!("{held} held, {owed} owed");
    found.demand(open || held == owed, Rule::Money, story, what);
    let currency = price.currency.code().to_ascii_lowercase();
    let same = |effect: &&Effect| effect.currency.as_ref().is_none_or(|used| *used == currency);
    let all = story.effects.iter().copied().all(|effect| same(&effect));
    found.demand(all, Rule::Money, story, format!("money in another currency than {currency}"));
}
