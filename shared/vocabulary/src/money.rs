//! Money in integer minor units with an ISO 4217 currency; every operation is checked.
//!
//! There is no float anywhere, and no sum of two currencies.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount of minor units (cents, or yen where there are none) in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Money {
    /// Whole minor units, 250 for 2.50: at most 19 digits, no fraction and no exponent.
    #[schemars(range(min = i64::MIN, max = i64::MAX))]
    pub amount: i64,
    /// An upper-case code of ISO 4217, such as EUR.
    pub currency: Currency,
}

/// Why amounts cannot be added or multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Above `i64::MAX` or below `i64::MIN` minor units.
    #[error("the amount does not fit 64 bits")]
    Overflow,
    #[error("{0} and {1} cannot be added")]
    MixedCurrencies(Currency, Currency),
    #[error("a sum of nothing has no currency")]
    NothingToAdd,
}

impl Money {
    /// `amount` minor units; zero and below are allowed here, and refused where they make no sense.
    pub fn new(amount: i64, currency: Currency) -> Self {
        Self { amount, currency }
    }

    pub fn is_zero(self) -> bool {
        self.amount == 0
    }

    /// The sum of both.
    ///
    /// # Errors
    /// When the currencies differ or the sum does not fit.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::MixedCurrencies(self.currency, other.currency));
        }
        let amount = self.amount.checked_add(other.amount).ok_or(MoneyError::Overflow)?;
        Ok(Self { amount, ..self })
    }

    /// The same amount, owed the other way.
    ///
    /// # Errors
    /// When it is `i64::MIN`, which has no counterpart.
    pub fn negated(self) -> Result<Self, MoneyError> {
        let amount = self.amount.checked_neg().ok_or(MoneyError::Overflow)?;
        Ok(Self { amount, ..self })
    }

    /// The price of `count` pieces.
    ///
    /// # Errors
    /// When the product does not fit.
    pub fn times(self, count: u32) -> Result<Self, MoneyError> {
        let amount = self.amount.checked_mul(i64::from(count)).ok_or(MoneyError::Overflow)?;
        Ok(Self { amount, ..self })
    }

    /// The sum of all; their order does not matter, not even for whether the sum fits.
    ///
    /// # Errors
    /// When the currencies differ, the sum does not fit, or there is nothing to add.
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, MoneyError> {
        let mut amounts = amounts.into_iter();
        let first = amounts.next().ok_or(MoneyError::NothingToAdd)?;
        // 128 bits hold the sum of 2^63 amounts of 64 bits.
        let mut total = i128::from(first.amount);
        for next in amounts {
            if next.currency != first.currency {
                return Err(MoneyError::MixedCurrencies(first.currency, next.currency));
            }
            total += i128::from(next.amount);
        }
        let amount = i64::try_from(total).map_err(|_| MoneyError::Overflow)?;
        Ok(Self { amount, ..first })
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} (minor units)", self.amount, self.currency)
    }
}

/// A currency of ISO 4217, upper case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Currency(&'static str);

/// A text that is no currency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a currency must be an upper-case ISO 4217 code such as EUR")]
pub struct UnknownCurrency;

impl Currency {
    /// # Errors
    /// When `code` is not an active ISO 4217 code in upper case.
    pub fn parse(code: &str) -> Result<Self, UnknownCurrency> {
        ISO_4217.binary_search(&code).map(|at| Self(ISO_4217[at])).map_err(|_| UnknownCurrency)
    }

    /// As [`Currency::parse`]; also takes a code that was withdrawn since the first log was
    /// written, because what is in a log stays readable.
    ///
    /// # Errors
    /// When `code` is neither.
    pub fn read(code: &str) -> Result<Self, UnknownCurrency> {
        let withdrawn = || WITHDRAWN.into_iter().find(|gone| *gone == code).map(Self);
        Self::parse(code).or_else(|unknown| withdrawn().ok_or(unknown))
    }

    /// Whether a new order may be in it.
    pub fn is_active(self) -> bool {
        !WITHDRAWN.contains(&self.0)
    }

    /// Three upper-case letters.
    pub fn code(self) -> &'static str {
        self.0
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        let code = Cow::<'de, str>::deserialize(reader)?;
        Self::read(&code).map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Active codes of ISO 4217 (list one of 2026-01-01), sorted, without funds, metals and units of
/// account. Since the list of 2024: XCG for ANG (2025-03-31), and BGN is gone (2026-01-01).
#[rustfmt::skip]
const ISO_4217: &[&str] = &[
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BHD",
    "BIF", "BMD", "BND", "BOB", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF",
    "CLP", "CNY", "COP", "CRC", "CUP", "CVE", "CZK", "DJF", "DKK", "DOP", "DZD", "EGP", "ERN",
    "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD", "GNF", "GTQ", "GYD", "HKD",
    "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IQD", "IRR", "ISK", "JMD", "JOD", "JPY", "KES",
    "KGS", "KHR", "KMF", "KPW", "KRW", "KWD", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL",
    "LYD", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR", "MWK", "MXN",
    "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "OMR", "PAB", "PEN", "PGK", "PHP",
    "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB", "RWF", "SAR", "SBD", "SCR", "SDG", "SEK",
    "SGD", "SHP", "SLE", "SOS", "SRD", "SSP", "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT",
    "TND", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "UGX", "USD", "UYU", "UZS", "VED", "VES",
    "VND", "VUV", "WST", "XAF", "XCD", "XCG", "XOF", "XPF", "YER", "ZAR", "ZMW", "ZWG",
];

/// Codes that were active when the first log was written.
const WITHDRAWN: [&str; 2] = ["ANG", "BGN"];

impl schemars::JsonSchema for Currency {
    fn schema_name() -> Cow<'static, str> {
        "Currency".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "enum": ISO_4217 })
    }
}
