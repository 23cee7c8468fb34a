//! `--gpus`, and what a CDI name looks like.

use crate::error::{Error, Result};
use crate::model::DeviceRequest;
use crate::options::env;
use crate::options::mounts::csv;

/// Driver of a request by CDI names.
pub const CDI: &str = "cdi";

/// `all`, `N`, `device=…`, with `driver=`, `capabilities=` and `options=`, fields in CSV.
pub fn gpus(text: &str) -> Result<DeviceRequest> {
    let bad = |why: String| Error::argument("--gpus", text, &why);
    let mut request = DeviceRequest::default();
    let mut seen = Vec::new();
    for field in csv(text).map_err(bad)? {
        let (key, value) = field.split_once('=').unwrap_or(("count", &field));
        let once = if field.contains('=') { key } else { &field };
        if seen.iter().any(|s| s == once) {
            return Err(bad(format!("gpu request key '{once}' can be specified only once")));
        }
        seen.push(once.to_owned());
        let words = || value.split(',').map(str::to_owned);
        match key {
            "count" => {
                request.count = count(value).map_err(bad)?;
                seen.push("count".to_owned());
            }
            "driver" => value.clone_into(&mut request.driver),
            "device" => request.device_ids = Some(words().collect()),
            "capabilities" => {
                request.capabilities = Some(vec![words().chain(["gpu".to_owned()]).collect()]);
            }
            "options" => {
                let options: Vec<String> = csv(value).map_err(bad)?;
                request.options = Some(env::pairs("--gpus", &options)?);
            }
            _ => return Err(bad(format!("unexpected key '{key}' in '{field}'"))),
        }
    }
    if request.device_ids.is_none() && !seen.iter().any(|s| s == "count") {
        request.count = 1;
    }
    if request.device_ids.is_some() && request.count != 0 {
        return Err(bad("cannot set both Count and DeviceIDs on device request".into()));
    }
    request.options.get_or_insert_default();
    request.capabilities.get_or_insert_with(|| vec![vec!["gpu".to_owned()]]);
    Ok(request)
}

fn count(text: &str) -> Result<i64, String> {
    if text == "all" {
        return Ok(-1);
    }
    text.parse().map_err(|_| {
        format!(
            "invalid count ({text}): value must be either \"all\" or an integer: invalid syntax"
        )
    })
}

/// `VENDOR/CLASS=NAME`: the three parts of a CDI name, when `text` is one.
pub fn cdi_name(text: &str) -> Option<(&str, &str, &str)> {
    let (kind, name) = text.split_once('=')?;
    let (vendor, class) = kind.split_once('/')?;
    let inner = |extra: &'static str| move |c: char| c.is_ascii_alphanumeric() || extra.contains(c);
    let letter = |s: &str| s.starts_with(|c: char| c.is_ascii_alphabetic());
    let ends = |s: &str| s.ends_with(|c: char| c.is_ascii_alphanumeric());
    let good = letter(vendor)
        && ends(vendor)
        && vendor.chars().all(inner("_-."))
        && letter(class)
        && ends(class)
        && class.chars().all(inner("_-"))
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && ends(name)
        && name.chars().all(inner("_-.:"));
    good.then_some((vendor, class, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_read_as_docker_reads_them() {
        assert_eq!(gpus("all").unwrap().count, -1);
        assert_eq!(gpus("2").unwrap().count, 2);
        assert_eq!(gpus("driver=nvidia").unwrap().count, 1);
        let two = gpus("\"device=0,1\",capabilities=utility").unwrap();
        assert_eq!(two.device_ids.unwrap(), ["0", "1"]);
        assert_eq!(two.capabilities.unwrap(), [["utility", "gpu"]]);
        for bad in ["", "x", "what=1", "device=0,count=1", "driver=a,driver=b"] {
            assert!(gpus(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cdi_names() {
        assert_eq!(cdi_name("nvidia.com/gpu=all"), Some(("nvidia.com", "gpu", "all")));
        assert!(cdi_name("vendor.com/class=a:1.b_2").is_some());
        for no in ["/dev/sda", "/dev/sda:/dev/x=y", "a/b", "a/b=", "1a/b=c", "a/b=-c", "a-/b=c"] {
            assert!(cdi_name(no).is_none(), "{no}");
        }
    }
}
