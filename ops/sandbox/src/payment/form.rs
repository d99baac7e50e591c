//! From form-encoded parameters to a command. Whatever is missing, unknown or out of range is
//! answered with the parameter's name.

use std::collections::BTreeMap;

use super::command::Command;
use super::error::invalid;
use crate::answer::Answer;
use crate::cards::{UNKNOWN_CUSTOMER, is_known};
use crate::intent::NewIntent;

/// Largest amount in minor units: twelve digits, as at Stripe, so that sums cannot overflow.
const LARGEST_AMOUNT: u64 = 999_999_999_999;

/// The parameters of one request, taken out one by one; `finish` refuses the rest.
#[derive(Debug)]
pub(crate) struct Form {
    values: BTreeMap<String, String>,
}

impl Form {
    pub(crate) fn new(pairs: Vec<(String, String)>) -> Result<Self, Answer> {
        let mut values = BTreeMap::new();
        for (name, value) in pairs {
            if values.contains_key(&name) {
                return Err(invalid(&name, "parameter_invalid", "given more than once"));
            }
            values.insert(name, value);
        }
        Ok(Self { values })
    }

    /// Path and parameters in one text, the same whatever the order of the parameters.
    pub(crate) fn request(&self, path: &str) -> String {
        format!("{path} {:?}", self.values)
    }

    pub(crate) fn create(mut self) -> Result<Command, Answer> {
        let new = NewIntent {
            amount: amount(&self.required("amount")?)?,
            currency: currency(self.required("currency")?)?,
            customer: self.values.remove("customer").map(customer).transpose()?,
            payment_method: payment_method(self.required("payment_method")?)?,
            confirm: self.boolean("confirm")?,
            metadata: self.metadata(),
        };
        self.finish(Command::Create(new))
    }

    /// Whether the customer is there makes no difference here: nobody is ever redirected.
    pub(crate) fn confirm(mut self, intent: String) -> Result<Command, Answer> {
        self.boolean("off_session")?;
        let payment_method = self.values.remove("payment_method").map(payment_method);
        let payment_method = payment_method.transpose()?;
        self.finish(Command::Confirm { intent, payment_method })
    }

    pub(crate) fn cancel(self, intent: String) -> Result<Command, Answer> {
        self.finish(Command::Cancel { intent })
    }

    pub(crate) fn refund(mut self) -> Result<Command, Answer> {
        let intent = self.required("payment_intent")?;
        let amount = self.values.remove("amount").map(|text| amount(&text)).transpose()?;
        self.finish(Command::Refund { intent, amount })
    }

    fn required(&mut self, name: &str) -> Result<String, Answer> {
        self.values
            .remove(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| invalid(name, "parameter_missing", "required and not given"))
    }

    fn boolean(&mut self, name: &str) -> Result<bool, Answer> {
        match self.values.remove(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(invalid(name, "parameter_invalid", "neither true nor false")),
        }
    }

    /// Takes every `metadata[NAME]`.
    fn metadata(&mut self) -> BTreeMap<String, String> {
        let values = std::mem::take(&mut self.values);
        let mut metadata = BTreeMap::new();
        for (name, value) in values {
            match name.strip_prefix("metadata[").and_then(|rest| rest.strip_suffix(']')) {
                Some(inner) => metadata.insert(inner.to_owned(), value),
                None => self.values.insert(name, value),
            };
        }
        metadata
    }

    fn finish(self, command: Command) -> Result<Command, Answer> {
        match self.values.into_keys().next() {
            Some(name) => Err(invalid(&name, "parameter_unknown", "unknown parameter")),
            None => Ok(command),
        }
    }
}

fn amount(text: &str) -> Result<u64, Answer> {
    match text.parse() {
        Ok(amount) if (1..=LARGEST_AMOUNT).contains(&amount) => Ok(amount),
        Ok(_) | Err(_) => {
            let message = format!("not a whole number of minor units from 1 to {LARGEST_AMOUNT}");
            Err(invalid("amount", "parameter_invalid_integer", &message))
        }
    }
}

fn currency(text: String) -> Result<String, Answer> {
    if text.len() == 3 && text.bytes().all(|b| b.is_ascii_lowercase()) {
        return Ok(text);
    }
    Err(invalid("currency", "parameter_invalid", "not three lower-case letters"))
}

fn customer(name: String) -> Result<String, Answer> {
    if name == UNKNOWN_CUSTOMER {
        return Err(invalid("customer", "resource_missing", "no such customer"));
    }
    Ok(name)
}

fn payment_method(name: String) -> Result<String, Answer> {
    if is_known(&name) {
        return Ok(name);
    }
    Err(invalid("payment_method", "resource_missing", "no such payment method"))
}

/// The order in `metadata['order']:'A123'`, and the log in ` AND metadata['log']:'…'` behind it:
/// the only searches that the sandbox answers.
pub(crate) fn searched(query: &str) -> Result<(String, Option<String>), Answer> {
    let value = |text: &str, name: &str| {
        let rest = text.strip_prefix("metadata['")?.strip_prefix(name)?.strip_prefix("']:'")?;
        let value = rest.strip_suffix('\'')?;
        (!value.is_empty() && !value.contains('\'')).then(|| value.to_owned())
    };
    let (order, log) = match query.split_once(" AND ") {
        Some((order, log)) => (value(order, "order"), Some(value(log, "log"))),
        None => (value(query, "order"), None),
    };
    match (order, log) {
        (Some(order), None) => Ok((order, None)),
        (Some(order), Some(Some(log))) => Ok((order, Some(log))),
        _ => {
            let message = "only metadata['order']:'ID' can be searched for, and with it \
                           AND metadata['log']:'ID'";
            Err(invalid("query", "parameter_invalid", message))
        }
    }
}
