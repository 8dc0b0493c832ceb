//! Reads one TOML table key by key and reports everything that does not fit.
//!
//! A [`Section`] remembers which keys were asked for; what is left over when it is [finished](Section::finish) is
//! an unknown key. So the code that reads a key is the only place that knows its name, and no fault hides another.

use std::{cell::RefCell, ops::RangeInclusive, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::error::{Sink, nearest};

/// A table of the file being read.
pub(super) struct Section<'a, 'i> {
    name: String,
    table: &'a DeTable<'i>,
    asked: Vec<&'static str>,
    sink: &'a RefCell<Sink<'i>>,
}

impl<'a, 'i> Section<'a, 'i> {
    pub(super) fn root(table: &'a DeTable<'i>, sink: &'a RefCell<Sink<'i>>) -> Self {
        Section { name: String::new(), table, asked: Vec::new(), sink }
    }

    /// The table `key`, or nothing if the file does not have it.
    pub(super) fn section(&mut self, key: &'static str) -> Option<Section<'a, 'i>> {
        let value = self.value(key)?;
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type(key, value, "a table");
            return None;
        };
        Some(Section { name: self.path(key), table, asked: Vec::new(), sink: self.sink })
    }

    /// The tables of `[[key]]`, in order.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Section<'a, 'i>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(key, value, "an array of tables");
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::Table(table) => {
                    if table.is_empty() {
                        self.fault(item, format!("[[{}]] without a key", self.path(key)), None);
                    }
                    sections.push(Section {
                        name: self.path(key),
                        table,
                        asked: Vec::new(),
                        sink: self.sink,
                    });
                }
                _ => self.wrong_type(key, item, "a table"),
            }
        }
        sections
    }

    /// A string with its place, for checks that follow.
    pub(super) fn string(&mut self, key: &'static str) -> Option<Spanned<String>> {
        let value = self.value(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(key, value, "a string");
        }
        text.map(|text| Spanned::new(value.span(), text.to_owned()))
    }

    /// A list of strings, each with its place.
    pub(super) fn strings(&mut self, key: &'static str) -> Option<Spanned<Vec<Spanned<String>>>> {
        let value = self.value(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(key, value, "an array of strings");
            return None;
        };
        let mut strings = Vec::with_capacity(items.len());
        for item in items {
            match item.get_ref().as_str() {
                Some(text) => strings.push(Spanned::new(item.span(), text.to_owned())),
                None => self.wrong_type(key, item, "a string"),
            }
        }
        Some(Spanned::new(value.span(), strings))
    }

    /// A string or a list of strings; nothing is an empty list.
    pub(super) fn list(&mut self, key: &'static str) -> Vec<Spanned<String>> {
        match self.table.get(key).map(Spanned::get_ref) {
            Some(DeValue::Array(_)) => self.strings(key).map(Spanned::into_inner).unwrap_or_default(),
            _ => self.string(key).into_iter().collect(),
        }
    }

    /// The entries of a table of strings, such as `user = { name = "password" }`.
    pub(super) fn string_map(&mut self, key: &'static str) -> Vec<(Spanned<String>, Spanned<String>)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type(key, value, "a table of strings");
            return Vec::new();
        };
        let mut entries = Vec::new();
        for (name, value) in table {
            match value.get_ref().as_str() {
                Some(text) => entries.push((
                    Spanned::new(name.span(), name.get_ref().clone().into_owned()),
                    Spanned::new(value.span(), text.to_owned()),
                )),
                None => self.wrong_type(key, value, "a string"),
            }
        }
        entries
    }

    /// A string that parses as `T`; `allowed` names what does.
    pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
        &mut self,
        key: &'static str,
        allowed: &str,
    ) -> Option<T> {
        let text = self.string(key)?;
        match text.get_ref().parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.fault(&text, format!("{key}: {error}"), Some(format!("allowed: {allowed}")));
                None
            }
        }
    }

    /// A whole number within `allowed`.
    pub(super) fn integer(&mut self, key: &'static str, allowed: RangeInclusive<i64>) -> Option<i64> {
        let value = self.value(key)?;
        let Some(integer) = value.get_ref().as_integer() else {
            self.wrong_type(key, value, "a whole number");
            return None;
        };
        match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if allowed.contains(&number) => Some(number),
            _ => {
                let (low, high) = (allowed.start(), allowed.end());
                self.fault_at(
                    value,
                    format!("{key} = {integer} is out of range"),
                    format!("must be {low} to {high}"),
                );
                None
            }
        }
    }

    /// A list of whole numbers, each within `allowed`.
    pub(super) fn integers(&mut self, key: &'static str, allowed: RangeInclusive<i64>) -> Option<Vec<i64>> {
        let value = self.value(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(key, value, "an array of whole numbers");
            return None;
        };
        let number = |item: &DeValue<'i>| match item {
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            _ => None,
        };
        let mut numbers = Vec::with_capacity(items.len());
        for item in items {
            match number(item.get_ref()).filter(|number| allowed.contains(number)) {
                Some(number) => numbers.push(number),
                None => {
                    let (low, high) = (allowed.start(), allowed.end());
                    let help = format!("must be {low} to {high}");
                    self.fault_at(item, format!("{key} holds what is no such number"), help);
                }
            }
        }
        Some(numbers)
    }

    /// A whole number of seconds within `allowed`.
    pub(super) fn seconds(&mut self, key: &'static str, allowed: RangeInclusive<i64>) -> Option<Duration> {
        self.integer(key, allowed).map(|seconds| Duration::from_secs(seconds.unsigned_abs()))
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let found = value.get_ref().as_bool();
        if found.is_none() {
            self.wrong_type(key, value, "true or false");
        }
        found
    }

    /// Where `key` stands, if it does: for faults that concern two keys.
    pub(super) fn place(&self, key: &str) -> Option<Spanned<()>> {
        self.table
            .iter()
            .find(|(name, _)| name.get_ref() == key)
            .map(|(name, _)| Spanned::new(name.span(), ()))
    }

    /// Reports a fault at the place of `at`.
    pub(super) fn fault<T>(&self, at: &Spanned<T>, message: impl Into<String>, help: Option<String>) {
        self.sink.borrow_mut().fault(at.span(), message, help);
    }

    /// Everything that was not asked for is unknown.
    pub(super) fn finish(self) {
        #[cfg(test)]
        {
            let asked = self.asked.iter().map(|key| (self.name.clone(), (*key).to_owned()));
            self.sink.borrow_mut().asked.extend(asked);
        }
        for (name, _) in self.table {
            let found = name.get_ref().as_ref();
            if self.asked.contains(&found) {
                continue;
            }
            let place = if self.name.is_empty() {
                "at the top level".to_owned()
            } else {
                format!("in [{}]", self.name)
            };
            let help = match nearest(found, self.asked.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            self.fault(name, format!("unknown key \"{found}\" {place}"), Some(help));
        }
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.asked.push(key);
        self.table.get(key)
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'i>>, expected: &str) {
        let found = value.get_ref().type_str();
        self.fault_at(value, format!("{key} is of type {found}"), format!("must be {expected}"));
    }

    fn fault_at(&self, value: &Spanned<DeValue<'i>>, message: String, help: String) {
        self.fault(value, message, Some(help));
    }
}
