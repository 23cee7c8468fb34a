//! `--device`, `--device-cgroup-rule`.

use crate::error::{Error, Result};
use crate::model::Device;

/// `HOST[:CONTAINER[:rwm]]`.
pub fn device(text: &str) -> Result<Device> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host, inside, access) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, access] if is_access(access) => (host, host, access),
        [host, inside] => (host, inside, "rwm"),
        [host, inside, access] => (host, inside, access),
        _ => return Err(Error::usage(format!("bad format for path: {text}"))),
    };
    if host.is_empty() {
        return Err(Error::usage(format!("bad format for path: {text}")));
    }
    if !is_access(access) {
        return Err(Error::usage(format!(
            "bad mode specified: {access}; permissions of --device {text} are some of r, w and m"
        )));
    }
    // A path relative to the caller's directory would mean another one at the next start.
    for path in [inside, host] {
        if !path.starts_with('/') {
            return Err(Error::usage(format!(
                "{path} is not an absolute path; --device takes one, or a CDI name as vendor.com/class=name"
            )));
        }
    }
    Ok(Device {
        path_on_host: super::mounts::clean(host),
        path_in_container: super::mounts::clean(inside),
        cgroup_permissions: access.to_owned(),
    })
}

/// Some of `rwm`, none twice.
fn is_access(text: &str) -> bool {
    let once = |c: char| "rwm".contains(c) && text.matches(c).count() == 1;
    !text.is_empty() && text.chars().all(once)
}

/// `TYPE MAJOR:MINOR ACCESS`, with `*` for any number.
pub fn rule(text: &str) -> Result<String> {
    let parts: Vec<&str> = text.split(' ').collect();
    let number =
        |s: &str| s == "*" || s.bytes().all(|b| b.is_ascii_digit()) && s.parse::<u32>().is_ok();
    if let [kind, numbers, access] = parts[..]
        && matches!(kind, "a" | "b" | "c")
        && numbers.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor))
        && (1..=3).contains(&access.len())
        && access.bytes().all(|b| b"rwm".contains(&b))
    {
        return Ok(text.to_owned());
    }
    let why = format!("invalid device cgroup format '{text}'; write it as \"c 1:3 mr\"");
    Err(Error::argument("--device-cgroup-rule", text, &why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_rules() {
        assert_eq!(device("/dev/null:/dev/x:r").unwrap().cgroup_permissions, "r");
        assert_eq!(device("/dev/null:rw").unwrap().path_in_container, "/dev/null");
        for bad in
            ["null", "/dev/null:x", "/dev/null:/x:q", "/dev/null:/x:rr", "", ":/x", "/a:/b:r:w"]
        {
            assert!(device(bad).is_err(), "{bad}");
        }
        assert!(rule("c 1:* rwm").is_ok());
        for bad in ["c 1 rwm", "d 1:1 r", "c 1:1 x", "c +1:1 r", "c  1:1 r"] {
            assert!(rule(bad).is_err(), "{bad}");
        }
    }
}
