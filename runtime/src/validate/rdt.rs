//! `linux.intelRdt`.

use crate::error::{Error, Result};
use crate::validate::spec;

/// `linux.intelRdt`, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rdt {
    /// `closID`: a name, `/`, or empty for the container's id.
    pub clos: String,
    /// `l3CacheSchema`, or empty.
    pub l3: String,
    /// `memBwSchema`, or empty.
    pub bandwidth: String,
    /// `schemata`.
    pub schemata: Vec<String>,
    /// `enableMonitoring`.
    pub monitoring: bool,
}

impl Rdt {
    /// What goes into the group's `schemata`, in the spec's order.
    pub fn lines(&self) -> String {
        let first = [&self.l3, &self.bandwidth];
        let all = first.into_iter().chain(&self.schemata).filter(|line| !line.is_empty());
        all.flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

/// Reads it.
pub fn read(r: &spec::IntelRdt<'_>) -> Result<Rdt> {
    let bad = |field: &str, why: &str| Error::config(format!("/linux/intelRdt/{field}"), why);
    let clos = &*r.clos_id;
    if matches!(clos, "." | "..") || (clos.len() > 1 && clos.contains('/')) || clos.contains('\0') {
        return Err(bad("closID", &format!("invalid intelRdt.ClosID {clos:?}: a name, or /")));
    }
    let line = |text: &str, field: &str, prefix: &str| {
        if text.contains('\n') {
            return Err(bad(field, "must be one line"));
        }
        if !text.is_empty() && !text.starts_with(prefix) {
            return Err(bad(field, &format!("must start with {prefix}")));
        }
        Ok(text.to_owned())
    };
    let schemata = r.schemata.iter().enumerate();
    Ok(Rdt {
        clos: clos.to_owned(),
        // SPEC: config-linux.md §IntelRdt: SHOULD start with L3:, so others (L3CODE:) may be.
        l3: line(&r.l3_cache_schema, "l3CacheSchema", "")?,
        bandwidth: line(&r.mem_bw_schema, "memBwSchema", "MB:")?,
        schemata: schemata
            .map(|(n, text)| line(text, &format!("schemata/{n}"), ""))
            .collect::<Result<_>>()?,
        monitoring: r.enable_monitoring,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(json: &str) -> Result<Rdt> {
        read(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_clos_is_a_name_or_the_root() {
        for good in ["", "/", "gold", "a.b"] {
            assert_eq!(from(&format!(r#"{{"closID":"{good}"}}"#)).unwrap().clos, good);
        }
        for bad in [".", "..", "a/b", "/a", "../x", "a\\u0000"] {
            assert!(from(&format!(r#"{{"closID":"{bad}"}}"#)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_schema_is_one_line() {
        assert!(from(r#"{"l3CacheSchema":"L3:0=f\nL3:0=1"}"#).is_err());
        assert!(from(r#"{"memBwSchema":"L3:0=f"}"#).is_err());
        let e = from(r#"{"schemata":["MB:0=1","a\nb"]}"#).unwrap_err().to_string();
        assert!(e.contains("/linux/intelRdt/schemata/1"), "{e}");
    }
}
