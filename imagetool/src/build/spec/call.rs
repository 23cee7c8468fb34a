//! `--call check|outline|targets[,format=json][,ignorestatus=BOOL]`, `--check`.

use super::csv::{fields, switch};
use super::refuse;
use crate::error::Result;

/// What is asked of a Dockerfile instead of building it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What.
    pub what: Asked,
    /// `format=json`
    pub json: bool,
    /// The exit code says nothing of warnings.
    pub ignore_status: bool,
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Its checks.
    Check,
    /// What a target takes: arguments, secrets.
    Outline,
    /// Its stages.
    Targets,
}

impl Call {
    /// What `--call` and `--check` mean; `None`: build.
    pub fn new(typed: &str, check: bool) -> Result<Option<Self>> {
        let text = if check { "check" } else { typed };
        let (mut what, mut json, mut ignore_status) = (None, false, false);
        for field in fields(text).map_err(refuse)? {
            match field.split_once('=') {
                Some(("format", "json")) => json = true,
                Some(("format", "" | "text")) => json = false,
                Some(("ignorestatus", value)) => {
                    ignore_status = switch(value).ok_or_else(|| {
                        refuse(format!("invalid ignorestatus print value: {value}"))
                    })?;
                }
                Some(_) => return Err(refuse(format!("invalid print field: {field}"))),
                None if what.is_some() => {
                    return Err(refuse(format!("invalid print value: {text}")));
                }
                None => what = Some(field),
            }
        }
        let what = match what.as_deref() {
            None | Some("" | "build") => return Ok(None),
            Some("check" | "lint") => Asked::Check,
            Some("outline") => Asked::Outline,
            Some("targets") => Asked::Targets,
            Some(other) => {
                return Err(refuse(format!(
                    "--call {other} is not supported; it is build, check, outline or targets"
                )));
            }
        };
        Ok(Some(Self { what, json, ignore_status }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_as_buildx_reads_them() {
        let call = |text| Call::new(text, false);
        assert_eq!(call("").unwrap(), None);
        assert_eq!(call("build").unwrap(), None);
        let check = Call { what: Asked::Check, json: false, ignore_status: false };
        assert_eq!(call("check").unwrap(), Some(check.clone()));
        assert_eq!(Call::new("build", true).unwrap(), Some(check));
        let outline = call("outline,format=json,ignorestatus=1").unwrap().unwrap();
        assert_eq!(outline, Call { what: Asked::Outline, json: true, ignore_status: true });
        for bad in ["subrequests.describe", "a,b", "check,x=y", "check,ignorestatus=maybe"] {
            assert!(call(bad).is_err(), "{bad}");
        }
    }
}
