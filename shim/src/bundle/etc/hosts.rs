//! The lines of /etc/hosts. Past its start the file is the container's: it is read as bytes, and
//! only what dhow itself wrote is taken away.

use std::net::IpAddr;

/// Lines of every container.
const LOCAL_4: &str = "127.0.0.1\tlocalhost\n";
const LOCAL_6: &str = "::1\tlocalhost ip6-localhost ip6-loopback\n\
fe00::\tip6-localnet\n\
ff00::\tip6-mcastprefix\n\
ff02::1\tip6-allnodes\n\
ff02::2\tip6-allrouters\n";

/// An address and its names, with a blank between them.
pub type Line = (IpAddr, String);

/// The whole file.
pub fn file(lines: &[Line], ipv6: bool) -> String {
    let mut text = LOCAL_4.to_owned();
    if ipv6 {
        text.push_str(LOCAL_6);
    }
    text.push_str(&written(lines, ipv6));
    text
}

/// `lines` as they stand in the file.
pub fn written(lines: &[Line], ipv6: bool) -> String {
    let wanted = lines.iter().filter(|(address, _)| address.is_ipv4() || ipv6);
    wanted.fold(String::new(), |text, (address, names)| text + &format!("{address}\t{names}\n"))
}

/// The file without these lines; one that somebody has changed stays.
pub fn without(text: &[u8], lines: &[Line]) -> Vec<u8> {
    let gone: Vec<String> = lines.iter().map(|(a, names)| format!("{a}\t{names}")).collect();
    let kept = text.split_inclusive(|&b| b == b'\n').filter(|line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        !gone.iter().any(|gone| gone.as_bytes() == line)
    });
    kept.flatten().copied().collect()
}

/// The file without lines of an address and these names.
pub fn without_names(text: &[u8], names: &str) -> Vec<u8> {
    let kept = text.split_inclusive(|&b| b == b'\n').filter(|line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let rest = line.strip_suffix(names.as_bytes()).and_then(|line| line.strip_suffix(b"\t"));
        let address = rest.and_then(|address| std::str::from_utf8(address).ok());
        address.is_none_or(|address| address.parse::<IpAddr>().is_err())
    });
    kept.flatten().copied().collect()
}

/// The file with another address at each line whose first name is `name`, of the same family.
pub fn readdressed(text: &[u8], name: &str, address: IpAddr) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|&b| b == b'\n') {
        match renewed(line, name, address) {
            Some(rest) => {
                out.extend(address.to_string().bytes());
                out.extend(rest);
            }
            None => out.extend(line),
        }
    }
    out
}

/// What follows the address in a line that is to be changed.
fn renewed<'a>(line: &'a [u8], name: &str, address: IpAddr) -> Option<&'a [u8]> {
    let tab = line.iter().position(|&b| b == b'\t')?;
    let (old, rest) = line.split_at(tab);
    let old: IpAddr = std::str::from_utf8(old).ok()?.parse().ok()?;
    let after = rest[1..].strip_prefix(name.as_bytes())?;
    let ends = after.first().is_none_or(u8::is_ascii_whitespace);
    (ends && old.is_ipv4() == address.is_ipv4()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(address: &str, names: &str) -> Line {
        (address.parse().unwrap(), names.to_owned())
    }

    #[test]
    fn without_ipv6_there_is_nothing_of_it() {
        let lines = [line("10.0.0.1", "a b"), line("fd00::1", "a b")];
        assert_eq!(file(&lines, false), "127.0.0.1\tlocalhost\n10.0.0.1\ta b\n");
        assert!(
            file(&lines, true).ends_with("ff02::2\tip6-allrouters\n10.0.0.1\ta b\nfd00::1\ta b\n")
        );
    }

    #[test]
    fn only_own_lines_go() {
        let text = b"10.0.0.1\ta b\n10.0.0.1\ta b c\n10.0.0.2\ta b\n\xff\xfe\n10.0.0.1\ta b";
        let left = without(text, &[line("10.0.0.1", "a b")]);
        assert_eq!(left, b"10.0.0.1\ta b c\n10.0.0.2\ta b\n\xff\xfe\n");
    }

    #[test]
    fn a_links_lines_go_wherever_they_lead() {
        let text =
            b"10.0.0.1\tdb x\nfd00::1\tdb x\n# 10.0.0.1\tdb x\n10.0.0.1\tdb x y\n\xff\tdb x\n";
        let left = without_names(text, "db x");
        assert_eq!(left, b"# 10.0.0.1\tdb x\n10.0.0.1\tdb x y\n\xff\tdb x\n");
    }

    #[test]
    fn a_linked_container_that_came_back_elsewhere_is_found() {
        let text = b"10.0.0.1\tdb x\n10.0.0.9\tdbs\nfd00::1\tdb x\n# 10.0.0.1\tdb\n";
        let new = readdressed(text, "db", "10.0.0.7".parse().unwrap());
        assert_eq!(new, b"10.0.0.7\tdb x\n10.0.0.9\tdbs\nfd00::1\tdb x\n# 10.0.0.1\tdb\n");
    }

    proptest! {
        #[test]
        fn files_of_any_bytes_keep_what_is_not_ours(text: Vec<u8>, name in "[a-z]{1,4}") {
            let mine = line("10.0.0.1", &name);
            let mut with = text.clone();
            if with.last().is_some_and(|&b| b != b'\n') {
                with.push(b'\n');
            }
            let before = with.clone();
            with.extend(written(std::slice::from_ref(&mine), true).bytes());
            let left = without(&with, std::slice::from_ref(&mine));
            prop_assert_eq!(left, without(&before, &[mine]));
            without_names(&text, &name);
            readdressed(&text, &name, "10.0.0.2".parse().unwrap());
        }
    }
}
