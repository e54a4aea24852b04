//! The members of a JSON body, one at a time: absent and `null` are the same, a wrong type or
//! range is a 400 that names the member. Unknown members are ignored, as the contract's server did.

use serde_json::{Map, Value};

use super::error::ApiError;

/// A JSON object that a client sent.
#[derive(Debug, Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body.
    ///
    /// # Errors
    /// 400 when it is no JSON object; an empty body is the empty object.
    pub(super) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self(members)),
            Ok(_) => Err(ApiError::invalid("The body must be a JSON object")),
            Err(error) => Err(ApiError::invalid(format!("The body is not valid JSON: {error}"))),
        }
    }

    /// A member that is there and not `null`.
    #[must_use]
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A string.
    ///
    /// # Errors
    /// 400 when it is something else.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        self.get(name)
            .map(|value| value.as_str().ok_or_else(|| wrong(name, "a string")))
            .transpose()
    }

    /// A string that must be there and say something.
    ///
    /// # Errors
    /// 400 when it is missing, blank or something else.
    pub(super) fn required_text(&self, name: &str) -> Result<&str, ApiError> {
        match self.text(name)? {
            Some(text) if !text.trim().is_empty() => Ok(text),
            _ => Err(missing(name)),
        }
    }

    /// Text that may also be written as a whole JSON number.
    ///
    /// # Errors
    /// 400 when it is something else.
    pub(super) fn digits(&self, name: &str) -> Result<Option<String>, ApiError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) if number.is_u64() => Ok(Some(number.to_string())),
            Some(_) => Err(wrong(name, "a string of digits")),
        }
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// 400 when it is something else.
    pub(super) fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        self.get(name)
            .map(|value| value.as_bool().ok_or_else(|| wrong(name, "true or false")))
            .transpose()
    }

    /// A whole number in a range. `20.0` is whole.
    ///
    /// # Errors
    /// 400 when it is something else or out of range.
    pub(super) fn integer(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let whole = value.as_u64().or_else(|| {
            let number =
                value.as_f64().filter(|it| it.fract() == 0.0 && (0.0..1e15).contains(it))?;
            // In range and whole, so the cast is exact.
            Some(number as u64)
        });
        match whole.filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let expected =
                    format!("a whole number between {} and {}", range.start(), range.end());
                Err(wrong(name, &expected))
            }
        }
    }

    /// One of the named choices.
    ///
    /// # Errors
    /// 400 when it is none of them.
    pub(super) fn choice<T: Copy>(
        &self,
        name: &str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let names = || choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" or ");
        choices
            .iter()
            .find(|(choice, _)| *choice == text)
            .map(|(_, value)| Some(*value))
            .ok_or_else(|| wrong(name, &names()))
    }

    /// An object.
    ///
    /// # Errors
    /// 400 when it is something else.
    pub(super) fn object(&self, name: &str) -> Result<Option<&Map<String, Value>>, ApiError> {
        self.get(name)
            .map(|value| value.as_object().ok_or_else(|| wrong(name, "an object")))
            .transpose()
    }

    /// The members that are there, by name; what is null is not.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str())
    }
}

impl From<&Map<String, Value>> for Fields {
    fn from(members: &Map<String, Value>) -> Self {
        Self(members.clone())
    }
}

/// 400: a member that must be there is not.
pub(super) fn missing(name: &str) -> ApiError {
    ApiError::invalid(format!("{name} is required"))
}

/// 400: a member is not what it must be.
pub(super) fn wrong(name: &str, expected: &str) -> ApiError {
    ApiError::invalid(format!("{name} must be {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        Fields::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_wrong_is_named() {
        let it = fields(r#"{"a": 1, "b": "x", "c": null, "d": 2.5, "e": 20.0, "f": -1}"#);
        assert_eq!(it.text("a").unwrap_err().message, "a must be a string");
        assert_eq!(it.boolean("b").unwrap_err().message, "b must be true or false");
        assert_eq!(it.required_text("c").unwrap_err().message, "c is required");
        assert_eq!(
            it.integer("d", 1..=64).unwrap_err().message,
            "d must be a whole number between 1 and 64"
        );
        assert_eq!(it.integer("e", 1..=64).unwrap(), Some(20));
        assert!(it.integer("f", 0..=1).is_err());
        assert_eq!(it.digits("a").unwrap().as_deref(), Some("1"));
        assert_eq!(
            it.choice("b", &[("bridge", 1), ("channel", 2)]).unwrap_err().message,
            "b must be bridge or channel"
        );
    }

    #[test]
    fn a_body_is_an_object_or_nothing() {
        assert!(Fields::parse(b" ").unwrap().names().next().is_none());
        assert!(Fields::parse(b"[]").unwrap_err().message.contains("JSON object"));
        assert!(Fields::parse(b"{\"a\":").unwrap_err().message.contains("not valid JSON"));
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(500), "]".repeat(500));
        assert!(Fields::parse(deep.as_bytes()).is_err(), "depth is bounded");
    }
}
