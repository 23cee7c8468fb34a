//! EXPOSE's ports: `80`, `53/udp`, `8000-8002`, and the `ip:host:port` that means only its port.

/// `80` → `80/tcp`; a range becomes all of it.
///
/// # Errors
///
/// When it is no port.
pub fn ports(text: &str) -> Result<Vec<String>, String> {
    let (ip, host, container) = parts(text);
    let (port, protocol) = container.split_once('/').unwrap_or((container, ""));
    if port.is_empty() {
        return Err(format!("invalid port: {text:?}: no port specified"));
    }
    let protocol = match protocol.to_lowercase() {
        p if p.is_empty() => "tcp".to_owned(),
        p if matches!(p.as_str(), "tcp" | "udp" | "sctp") => p,
        _ => return Err(format!("invalid port: {text:?}: invalid proto: {protocol}")),
    };
    let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
    if !ip.is_empty() && bare.parse::<std::net::IpAddr>().is_err() {
        return Err(format!("invalid IP address: {ip}"));
    }
    let (first, last) = range(port).ok_or_else(|| format!("invalid containerPort: {port}"))?;
    if !host.is_empty() {
        let (from, to) = range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?;
        if to - from != last - first && first != last {
            return Err(format!(
                "invalid ranges specified for container and host Ports: {port} and {host}"
            ));
        }
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// Address, host's port, container's.
pub(super) fn parts(text: &str) -> (&str, &str, &str) {
    let Some((before, container)) = text.rsplit_once(':') else { return ("", "", text) };
    match before.rsplit_once(':') {
        Some((ip, host)) => (ip, host, container),
        None => ("", before, container),
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| text.strip_prefix('+').unwrap_or(text).parse::<u16>().ok();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, if last == first { port(first)? } else { port(last)? });
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_buildkit_reads_them() {
        for (text, want) in [
            ("80", "80/tcp"),
            ("53/UDP", "53/udp"),
            ("1-3/sctp", "1/sctp 2/sctp 3/sctp"),
            ("8080:80", "80/tcp"),
            ("127.0.0.1:8080:80", "80/tcp"),
            ("[::1]:8080:80", "80/tcp"),
            ("127.0.0.1::80", "80/tcp"),
            ("9000-9001:80", "80/tcp"),
            ("80/", "80/tcp"),
            ("0", "0/tcp"),
            ("7-7", "7/tcp"),
        ] {
            assert_eq!(ports(text).unwrap().join(" "), want, "{text}");
        }
        for bad in ["", "x", "80/icmp", "3-1", "65536", "/tcp", "x:80", "a:1:80", "1-2:3-5", "-1"] {
            assert!(ports(bad).is_err(), "{bad}");
        }
    }
}
