//! Amounts as the gateway counts them. It counts in the minor units of ISO 4217, as we do, but for
//! a few currencies.
//!
//! Source: Stripe, *Supported currencies*, "Zero-decimal currencies", "Three-decimal currencies"
//! and "Special cases" (docs.stripe.com/currencies, read in November 2026).

use quadrille::{Currency, Money};

/// How the gateway counts a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    /// In ISO's minor units.
    AsIso,
    /// In hundredths, though ISO knows none: `500` is 5 krónur.
    Hundredths,
    /// In whole ones, though ISO knows hundredths: `5` is 5 ariary.
    Whole,
    /// In ISO's thousandths, but takes only whole tens of them.
    Tens,
}

fn counts(currency: Currency) -> Counts {
    match currency.code() {
        "ISK" | "UGX" => Counts::Hundredths,
        "MGA" => Counts::Whole,
        "BHD" | "JOD" | "KWD" | "OMR" | "TND" => Counts::Tens,
        _ => Counts::AsIso,
    }
}

/// The gateway has no such amount.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotChargeable;

pub(super) fn to_gateway(money: Money) -> Result<i64, NotChargeable> {
    let Money { amount, currency } = money;
    match counts(currency) {
        Counts::AsIso => Ok(amount),
        Counts::Hundredths => amount.checked_mul(100).ok_or(NotChargeable),
        Counts::Whole if amount % 100 == 0 => Ok(amount / 100),
        Counts::Tens if amount % 10 == 0 => Ok(amount),
        Counts::Whole | Counts::Tens => Err(NotChargeable),
    }
}

/// `None` if it is no whole number of our minor units, or does not fit.
pub(super) fn from_gateway(amount: i64, currency: Currency) -> Option<Money> {
    let amount = match counts(currency) {
        Counts::AsIso | Counts::Tens => amount,
        Counts::Hundredths if amount % 100 == 0 => amount / 100,
        Counts::Hundredths => return None,
        Counts::Whole => amount.checked_mul(100)?,
    };
    Some(Money::new(amount, currency))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(amount: i64, code: &str) -> Money {
        Money::new(amount, Currency::parse(code).unwrap())
    }

    #[test]
    fn an_amount_is_the_same_money_at_the_gateway_and_back() {
        for (ours, code, theirs) in [
            (4_990, "EUR", 4_990),
            (500, "JPY", 500),
            (2_000, "ISK", 200_000),
            (38_000, "UGX", 3_800_000),
            (100_000, "MGA", 1_000),
            (1_500, "KWD", 1_500),
        ] {
            assert_eq!(to_gateway(money(ours, code)), Ok(theirs), "{code}");
            let back = from_gateway(theirs, Currency::parse(code).unwrap());
            assert_eq!(back, Some(money(ours, code)), "{code}");
        }
    }

    #[test]
    fn what_the_gateway_cannot_charge_is_not_rounded() {
        for (amount, code) in [(1_234, "KWD"), (1_005, "TND"), (150, "MGA"), (i64::MAX, "ISK")] {
            assert_eq!(to_gateway(money(amount, code)), Err(NotChargeable), "{code}");
        }
        assert_eq!(from_gateway(250, Currency::parse("ISK").unwrap()), None);
    }
}
