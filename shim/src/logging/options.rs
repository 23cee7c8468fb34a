//! `--log-driver` and `--log-opt` → what they mean; refusals in docker's words, and of docker's
//! kind: its daemon finds them, so `create` ends with 1.

use regex_lite::Regex;

use crate::error::{Error, Result};
use crate::model::LogConfig;
use crate::output::Template;

/// Where a log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// Nowhere.
    None,
    /// docker's own files.
    JsonFile,
    /// Smaller files, compressed once they are old.
    Local,
    /// systemd's journal.
    Journald,
}

/// docker has these; each needs a service that dhow doesn't speak to.
const ELSEWHERE: [&str; 7] =
    ["awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "splunk", "syslog"];
/// Of every driver.
const COMMON: [&str; 2] = ["mode", "max-buffer-size"];
const FILES: [&str; 3] = ["max-size", "max-file", "compress"];
const ATTRIBUTES: [&str; 5] = ["labels", "labels-regex", "env", "env-regex", "tag"];

impl Driver {
    /// docker's name of it; empty means json-file.
    pub fn of(kind: &str) -> Result<Self> {
        let have = "json-file, local, journald and none are there";
        match kind {
            "" | "json-file" => Ok(Self::JsonFile),
            "local" => Ok(Self::Local),
            "journald" => Ok(Self::Journald),
            "none" => Ok(Self::None),
            known if ELSEWHERE.contains(&known) => Err(Error::engine(format!(
                "log driver {known} is not supported, as it sends to a service elsewhere; {have}"
            ))),
            other => Err(Error::engine(format!(
                "error looking up logging plugin {other}: plugin \"{other}\" not found; {have}"
            ))),
        }
    }

    fn knows(self, key: &str) -> bool {
        COMMON.contains(&key)
            || match self {
                Self::None => false,
                Self::JsonFile => FILES.contains(&key) || ATTRIBUTES.contains(&key),
                Self::Local => FILES.contains(&key),
                Self::Journald => ATTRIBUTES.contains(&key),
            }
    }

    fn unknown(self, key: &str) -> Error {
        Error::engine(match self {
            Self::Local => format!("unknown log opt '{key}' for log driver local"),
            Self::Journald => format!("unknown log opt '{key}' for journald log driver"),
            _ => format!("unknown log opt '{key}' for json-file log driver"),
        })
    }
}

/// A log configuration, understood.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it goes.
    pub driver: Driver,
    /// Bytes of one file.
    pub size: u64,
    /// Files: the one written to and older ones.
    pub files: u32,
    /// Older ones are compressed.
    pub compress: bool,
    /// Keys of labels that go with every record.
    pub labels: Vec<String>,
    /// Labels whose keys fit, too.
    pub labels_regex: Option<Regex>,
    /// Names of variables that go with every record.
    pub env: Vec<String>,
    /// Variables whose names fit, too.
    pub env_regex: Option<Regex>,
    /// A template of a text that goes with every record.
    pub tag: Option<Template>,
    /// Bytes that may wait for a slow reader before some are lost; unset means that it is waited for.
    pub buffer: Option<usize>,
}

impl Settings {
    /// What `config` means.
    pub fn of(config: &LogConfig) -> Result<Self> {
        let driver = Driver::of(&config.kind)?;
        if driver == Driver::None && !config.config.is_empty() {
            return Err(Error::usage("invalid logging opts for driver none"));
        }
        if let Some(key) = config.config.keys().find(|key| !driver.knows(key)) {
            return Err(driver.unknown(key));
        }
        let get = |key: &str| config.config.get(key).map(String::as_str);
        let list = |key: &str| -> Vec<String> {
            let parts = get(key).unwrap_or_default().split(',').filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect()
        };
        let (size, files, compress) = files(driver, get)?;
        Ok(Self {
            driver,
            size,
            files,
            compress,
            labels: list("labels"),
            labels_regex: regex(get("labels-regex"))?,
            env: list("env"),
            env_regex: regex(get("env-regex"))?,
            tag: get("tag").filter(|tag| !tag.is_empty()).map(Template::parse).transpose()?,
            buffer: buffer(get("mode"), get("max-buffer-size"))?,
        })
    }
}

fn regex(typed: Option<&str>) -> Result<Option<Regex>> {
    let parse = |text: &str| {
        Regex::new(text).map_err(|_| Error::engine(format!("error parsing regexp: `{text}`")))
    };
    typed.filter(|text| !text.is_empty()).map(parse).transpose()
}

/// DIFFERS: docker keeps everything until the disk is full; without a word 5 × 16 MiB are kept here.
fn files<'a>(driver: Driver, get: impl Fn(&str) -> Option<&'a str>) -> Result<(u64, u32, bool)> {
    let local = driver == Driver::Local;
    let bad = |why: String| Err(Error::engine(why));
    let whole = if local { 20 << 20 } else { 16 << 20 };
    let size = match get("max-size") {
        None => whole,
        Some("-1") => u64::MAX,
        Some(text) => match size(text) {
            None if local => {
                return bad(format!("invalid value for max-size: {text}: invalid size: '{text}'"));
            }
            None => return bad(format!("invalid size: '{text}'")),
            Some(0) if local => u64::MAX,
            Some(0) => return bad("max-size must be a positive number".to_owned()),
            Some(n) => n,
        },
    };
    let files = match get("max-file") {
        // As docker: with a size alone, json-file has one file, which is emptied when it is full.
        None if get("max-size").is_some() && !local => 1,
        None => 5,
        Some(text) => match text.parse::<u32>() {
            Err(_) => return bad(format!("strconv.Atoi: parsing \"{text}\": invalid syntax")),
            Ok(0) if !local => return bad("max-file cannot be less than 1".to_owned()),
            Ok(n) => n,
        },
    };
    let compress = match get("compress") {
        None => local,
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => true,
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => false,
        Some(text) => return bad(format!("strconv.ParseBool: parsing \"{text}\": invalid syntax")),
    };
    if compress && local && files < 2 {
        return bad("compression cannot be enabled when max file count is 1".to_owned());
    }
    if compress && !local && (files < 2 || get("max-size").is_none()) {
        let why = "compress cannot be true when max-file is less than 2 or max-size is not set";
        return bad(why.to_owned());
    }
    Ok((size, files, compress))
}

fn buffer(mode: Option<&str>, most: Option<&str>) -> Result<Option<usize>> {
    match (mode, most) {
        (None | Some("" | "blocking"), None) => Ok(None),
        (None | Some("" | "blocking"), Some(_)) => Err(Error::engine(
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        )),
        (Some("non-blocking"), None) => Ok(Some(1 << 20)),
        (Some("non-blocking"), Some(text)) => {
            let bytes = crate::options::size::bytes("max-buffer-size", text).map_err(|_| {
                Error::engine(format!(
                    "error parsing option max-buffer-size: invalid size: '{text}'"
                ))
            })?;
            Ok(Some(bytes as usize))
        }
        (Some(other), _) => {
            Err(Error::engine(format!("logger: logging mode not supported: {other}")))
        }
    }
}

/// `10m`, `1.5g`, `4096`: units are powers of 1000, as docker has them here.
#[allow(clippy::cast_precision_loss)] // checked
fn size(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let power = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" => 1,
        "m" | "mb" => 2,
        "g" | "gb" => 3,
        "t" | "tb" => 4,
        "p" | "pb" => 5,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * 1000_f64.powi(power);
    (bytes.is_finite() && bytes < 9.0e18).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, options: &[(&str, &str)]) -> Result<Settings> {
        let config = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Settings::of(&LogConfig { kind: kind.into(), config })
    }

    #[test]
    fn files_are_kept_as_docker_keeps_them() {
        let kept = |kind, options: &[_]| {
            let settings = of(kind, options).unwrap();
            (settings.size, settings.files, settings.compress)
        };
        assert_eq!(kept("", &[]), (16 << 20, 5, false));
        assert_eq!(kept("json-file", &[("max-size", "10m")]), (10_000_000, 1, false));
        let all = [("max-size", "1.5k"), ("max-file", "3"), ("compress", "true")];
        assert_eq!(kept("json-file", &all), (1500, 3, true));
        assert_eq!(kept("local", &[]), (20 << 20, 5, true));
        assert_eq!(kept("local", &[("max-size", "0")]).0, u64::MAX);
        assert_eq!(of("journald", &[("mode", "non-blocking")]).unwrap().buffer, Some(1 << 20));
    }

    #[test]
    fn refusals_are_dockers_words() {
        for (kind, option, words) in [
            ("", ("foo", "bar"), "unknown log opt 'foo' for json-file log driver"),
            ("local", ("labels", "x"), "unknown log opt 'labels' for log driver local"),
            ("journald", ("max-size", "1m"), "unknown log opt 'max-size' for journald log driver"),
            ("none", ("max-size", "1m"), "invalid logging opts for driver none"),
            ("", ("max-size", "x"), "invalid size: 'x'"),
            ("", ("max-size", "0"), "max-size must be a positive number"),
            ("", ("max-file", "0"), "max-file cannot be less than 1"),
            ("", ("compress", "true"), "compress cannot be true when max-file is less than 2"),
            ("", ("mode", "foo"), "logger: logging mode not supported: foo"),
            ("", ("max-buffer-size", "1m"), "only supported with 'mode=non-blocking'"),
            ("", ("labels-regex", "("), "error parsing regexp"),
            ("", ("tag", "{{"), "template"),
            ("local", ("max-file", "1"), "compression cannot be enabled"),
            ("nope", ("x", "y"), "error looking up logging plugin nope"),
            ("syslog", ("x", "y"), "log driver syslog is not supported"),
        ] {
            let error = of(kind, &[option]).unwrap_err().message;
            assert!(error.contains(words), "{kind} {option:?}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = size(&text);
        }
    }
}
