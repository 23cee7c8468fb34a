//! Platforms: `linux/amd64`, `linux/arm64/v8`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// An operating system, an architecture and its variant, in Go's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, `arm`, …
    #[serde(default)]
    pub architecture: String,
    /// `linux`
    #[serde(default)]
    pub os: String,
    /// `v7`, `v8`; empty if none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Windows builds; kept for `inspect`.
    #[serde(default, rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// Windows again.
    #[serde(default, rename = "os.features", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
}

/// What stands alone as an operating system, and as an architecture.
const SYSTEMS: [&str; 5] = ["darwin", "freebsd", "netbsd", "openbsd", "windows"];
const ARCHITECTURES: [&str; 14] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
    "ppc64le", "riscv64", "s390x", "wasm",
];

impl Platform {
    /// The platform this program was built for.
    pub fn host() -> Self {
        let (architecture, variant) = normal(std::env::consts::ARCH, "");
        Self { architecture, os: "linux".into(), variant, ..Self::default() }
    }

    /// Whether this machine's processor runs what was made for it, without an emulator.
    pub fn runs_here(&self) -> bool {
        let host = Self::host();
        let (arch, _) = normal(&self.architecture, "");
        let older = matches!(
            (host.architecture.as_str(), arch.as_str()),
            ("amd64", "386") | ("arm64", "arm")
        );
        self.os == host.os && (arch == host.architecture || older)
    }

    /// How well something made for `self` runs on `wanted`: 0 is exact, `None` not at all.
    pub fn fits(&self, wanted: &Self) -> Option<u32> {
        let (arch, variant) = normal(&self.architecture, &self.variant);
        let (want_arch, want_variant) = normal(&wanted.architecture, &wanted.variant);
        if self.os != wanted.os || arch != want_arch {
            return None;
        }
        match (level(&variant), level(&want_variant)) {
            (have, want) if have == want => Some(0),
            (have, Some(want)) => have.unwrap_or(0).le(&want).then(|| want - have.unwrap_or(0)),
            (Some(_), None) => Some(100),
            (None, None) => None,
        }
    }
}

/// `v7` → 7.
fn level(variant: &str) -> Option<u32> {
    variant.strip_prefix('v')?.parse().ok()
}

/// The many spellings of one architecture, as containerd's platforms package has them.
fn normal(arch: &str, variant: &str) -> (String, String) {
    let (arch, variant) = match (arch, variant) {
        ("x86_64" | "x86-64", v) => ("amd64", v),
        ("amd64", "v1") => ("amd64", ""),
        ("i386" | "i486" | "i586" | "i686" | "x86", _) => ("386", ""),
        ("aarch64" | "arm64", "8" | "v8" | "") => ("arm64", ""),
        ("aarch64", v) => ("arm64", v),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("powerpc64le", v) => ("ppc64le", v),
        ("loongarch64", v) => ("loong64", v),
        (a, v) => (a, v),
    };
    (arch.to_owned(), variant.to_owned())
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

impl FromStr for Platform {
    type Err = Error;

    /// `OS/ARCH[/VARIANT]`, or `ARCH` alone for linux.
    fn from_str(s: &str) -> Result<Self> {
        let ok = |p: &str| {
            !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        };
        let parts: Vec<&str> = s.split('/').collect();
        if !parts.iter().all(|p| ok(p)) {
            return Err(Error::usage("platform", s, "write OS/ARCH[/VARIANT], as linux/arm64/v8"));
        }
        let (os, arch, variant) = match parts[..] {
            ["linux"] => return Ok(Self::host()),
            [os] if SYSTEMS.contains(&os) => {
                return Ok(Self { os: os.into(), ..Self::host() });
            }
            [arch] if ARCHITECTURES.contains(&normal(arch, "").0.as_str()) => ("linux", arch, ""),
            [_] => {
                return Err(Error::usage(
                    "platform",
                    s,
                    "unknown operating system or architecture",
                ));
            }
            [os, arch] => (os, arch, ""),
            [os, arch, variant] => (os, arch, variant),
            _ => return Err(Error::usage("platform", s, "write OS/ARCH[/VARIANT]")),
        };
        let (architecture, variant) = normal(arch, variant);
        Ok(Self { architecture, os: os.into(), variant, ..Self::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(have: &str, want: &str) -> Option<u32> {
        have.parse::<Platform>().unwrap().fits(&want.parse().unwrap())
    }

    #[test]
    fn spellings_are_one() {
        assert_eq!(fits("linux/x86_64", "amd64"), Some(0));
        assert_eq!(fits("linux/arm64/v8", "linux/aarch64"), Some(0));
        assert_eq!(fits("linux/arm64", "linux/amd64"), None);
        assert_eq!(fits("windows/amd64", "linux/amd64"), None);
    }

    #[test]
    fn a_lower_variant_runs_on_a_higher() {
        assert_eq!(fits("linux/arm/v6", "linux/arm/v7"), Some(1));
        assert_eq!(fits("linux/arm/v7", "linux/arm/v6"), None);
        assert_eq!(fits("linux/amd64/v3", "linux/amd64"), Some(100));
    }

    #[test]
    fn what_runs_here() {
        assert!(Platform::host().runs_here());
        assert!(!"s390x".parse::<Platform>().unwrap().runs_here());
        assert!(!"windows".parse::<Platform>().unwrap().runs_here());
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "/", "linux/", "a/b/c/d", "linux/am d64", "bogus"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }
}
