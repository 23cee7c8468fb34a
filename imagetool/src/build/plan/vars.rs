//! Variables, in the order they were first set.

/// Names and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vars(Vec<(String, String)>);

impl Vars {
    /// Sets one; one that is there keeps its place.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// The value of one.
    pub fn get(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone())
    }

    /// Each as `NAME=value`.
    pub fn lines(&self) -> Vec<String> {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// Of lines `NAME=value`.
    pub fn of_lines(lines: &[String]) -> Self {
        let mut vars = Self::default();
        for line in lines {
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            vars.set(name, value);
        }
        vars
    }
}
