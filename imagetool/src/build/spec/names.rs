//! `KEY=VALUE`s, names, hosts, platforms, named contexts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Env, refuse};
use crate::error::Result;
use crate::platform::Platform;
use crate::reference::Reference;

/// `--build-arg K=V`, and `K` for the caller's own value, if there is one.
pub fn args(typed: &[String], env: Env<'_>) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for text in typed {
        let (key, value) = pair(text)?;
        let value = value.map(str::to_owned);
        let own = || env(key).map(|value| value.to_string_lossy().into_owned());
        if let Some(value) = value.or_else(own) {
            all.insert(key.to_owned(), value);
        }
    }
    Ok(all)
}

/// `--label K=V`, and `K` for an empty one.
pub fn labels(typed: &[String]) -> Result<BTreeMap<String, String>> {
    let read = |text: &String| {
        let (key, value) = pair(text)?;
        Ok((key.to_owned(), value.unwrap_or_default().to_owned()))
    };
    typed.iter().map(read).collect()
}

fn pair(text: &str) -> Result<(&str, Option<&str>)> {
    let (key, value) = text.split_once('=').map_or((text, None), |(k, v)| (k, Some(v)));
    if key.is_empty() {
        return Err(refuse(format!("invalid key-value pair {text:?}: empty key")));
    }
    Ok((key, value))
}

/// `--annotation [manifest:]K=V`; an index there is none.
pub fn annotations(typed: &[String]) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for text in typed.iter().filter(|text| !text.is_empty()) {
        let Some((key, value)) = text.split_once('=') else {
            return Err(refuse(format!("invalid annotation {text:?}, expected key=value")));
        };
        let (kinds, key) = key.split_once(':').unwrap_or(("manifest", key));
        for kind in kinds.split(',') {
            match kind {
                "manifest" => {}
                "index" | "index-descriptor" => {
                    return Err(refuse(
                        "index annotations not supported for single platform export".into(),
                    ));
                }
                "manifest-descriptor" => {
                    return Err(refuse(
                        "annotations of the manifest's descriptor are not supported; take manifest:".into(),
                    ));
                }
                other => return Err(refuse(format!("unknown annotation type {other:?}"))),
            }
        }
        all.insert(key.to_owned(), value.to_owned());
    }
    Ok(all)
}

/// A name with its tag.
pub fn tag(text: &str) -> Result<Reference> {
    let name =
        Reference::parse_normal(text).map_err(|e| refuse(format!("invalid tag {text:?}: {e}")))?;
    if name.digest().is_some() {
        return Err(refuse(format!(
            "invalid tag {text:?}: refusing to create a tag with a digest reference"
        )));
    }
    Ok(name.tagged())
}

/// All names, each once.
pub fn tags(typed: &[String]) -> Result<Vec<Reference>> {
    let mut all: Vec<Reference> = Vec::new();
    for text in typed {
        let name = tag(text)?;
        if !all.contains(&name) {
            all.push(name);
        }
    }
    Ok(all)
}

/// `NAME:IP` or `NAME=IP[,IP…]`; `host-gateway` is whoever runs the container's to resolve.
pub fn hosts(typed: &[String]) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for text in typed.iter().filter(|text| !text.is_empty()) {
        let bad = || refuse(format!("invalid host {text}; write NAME:IP, or NAME:host-gateway"));
        let (name, ips) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(bad)?;
        if name.is_empty() || ips.is_empty() || name.contains(char::is_whitespace) {
            return Err(bad());
        }
        for ip in ips.split(',') {
            let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
            if bare != "host-gateway" {
                let _: IpAddr = bare.parse().map_err(|_| bad())?;
            }
            all.push((name.to_owned(), bare.to_owned()));
        }
    }
    Ok(all)
}

/// One platform.
pub fn platforms(typed: &[String]) -> Result<Vec<Platform>> {
    let mut all: Vec<Platform> = Vec::new();
    for text in typed.iter().flat_map(|text| text.split(',')).filter(|text| !text.is_empty()) {
        let platform = match text {
            "local" => Platform::host(),
            text => text.parse()?,
        };
        if !all.contains(&platform) {
            all.push(platform);
        }
    }
    Ok(all)
}

/// `--build-context NAME=WHERE`; names as images' are, without `:latest`.
pub fn contexts(typed: &[String]) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for text in typed.iter().filter(|text| !text.is_empty()) {
        let Some((name, place)) = text.split_once('=') else {
            return Err(refuse(format!("invalid context value: {text}, expected key=value")));
        };
        let parsed = Reference::parse_normal(name)
            .map_err(|e| refuse(format!("invalid context name {name}: {e}")))?;
        let familiar = parsed.familiar();
        let short = familiar.strip_suffix(":latest").unwrap_or(&familiar);
        all.insert(short.to_owned(), place.to_owned());
    }
    Ok(all)
}

/// `--allow`; what of it dhow has no use for is refused.
pub fn allowed(typed: &[String]) -> Result<Vec<String>> {
    for text in typed.iter().filter(|text| !text.is_empty()) {
        match text.as_str() {
            "network.host" | "security.insecure" => {}
            device if device == "device" || device.starts_with("device=") => {
                return Err(refuse("--allow device: devices in builds are not supported".into()));
            }
            other => {
                return Err(refuse(format!(
                    "invalid entitlement: {other}; it is network.host or security.insecure"
                )));
            }
        }
    }
    Ok(typed.iter().filter(|text| !text.is_empty()).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(all: &[&str]) -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn args_without_a_value_take_the_callers() {
        let env = |name: &str| (name == "SET").then(|| "v".into());
        let all = args(&list(&["A=1", "A=2=3", "SET", "UNSET", "E="]), &env).unwrap();
        let all: Vec<_> = all.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(all, [("A", "2=3"), ("E", ""), ("SET", "v")]);
        let told = args(&list(&["=x"]), &env).unwrap_err().to_string();
        assert_eq!(told, "invalid key-value pair \"=x\": empty key");
        assert_eq!(labels(&list(&["a"])).unwrap()["a"], "");
    }

    #[test]
    fn names_are_whole_and_once() {
        let all = tags(&list(&["x", "x:latest", "r.io/y:1"])).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].to_string(), "docker.io/library/x:latest");
        assert!(tags(&list(&["X"])).unwrap_err().to_string().starts_with("invalid tag \"X\": "));
        let digest = format!("x@sha256:{}", "0".repeat(64));
        assert!(tags(&[digest]).is_err());
    }

    #[test]
    fn hosts_have_addresses() {
        let all = hosts(&list(&["a:1.2.3.4", "b=[::1],10.0.0.1", "c:host-gateway"])).unwrap();
        let all: Vec<_> = all.iter().map(|(n, ip)| format!("{n} {ip}")).collect();
        assert_eq!(all, ["a 1.2.3.4", "b ::1", "b 10.0.0.1", "c host-gateway"]);
        for bad in ["a", "a:", ":1.2.3.4", "a:b", "a b:1.2.3.4"] {
            assert!(hosts(&list(&[bad])).unwrap_err().to_string().starts_with("invalid host"));
        }
    }

    #[test]
    fn platforms_are_named_once() {
        let of = |typed: &[&str]| platforms(&list(typed)).map(|all| all.len());
        assert_eq!(platforms(&list(&["local"])).unwrap(), [Platform::host()]);
        assert_eq!(of(&[]).unwrap(), 0);
        assert_eq!(of(&["linux/arm64", "linux/arm64/v8,linux/arm64"]).unwrap(), 1);
        assert_eq!(of(&["linux/amd64,linux/arm64"]).unwrap(), 2);
        assert!(platforms(&list(&["nonsense"])).is_err());
    }

    #[test]
    fn contexts_are_called_as_images() {
        let all = contexts(&list(&["src=../x", "Alpine=y"]));
        assert!(all.unwrap_err().to_string().starts_with("invalid context name Alpine"));
        let all = contexts(&list(&["alpine:latest=docker-image://a=b", "r.io/x:1=."])).unwrap();
        assert_eq!(all["alpine"], "docker-image://a=b");
        assert_eq!(all["r.io/x:1"], ".");
    }

    #[test]
    fn annotations_are_the_manifests() {
        let all = annotations(&list(&["a=b", "manifest:c=d:e=f"])).unwrap();
        assert_eq!((all["a"].as_str(), all["c"].as_str()), ("b", "d:e=f"));
        for bad in ["a", "index:a=b", "x:a=b"] {
            assert!(annotations(&list(&[bad])).is_err(), "{bad}");
        }
        assert!(allowed(&list(&["network.host"])).is_ok() && allowed(&list(&["all"])).is_err());
    }
}
