//! Platforms: which one is asked for, and what an image of another one needs.

use std::path::Path;

use dhow_image::platform::Platform;
use dhow_image::store::Stored;

use crate::error::{Error, Result};
use crate::output::Output;

/// `--platform`, as typed.
pub fn parse(typed: Option<&str>) -> Result<Option<Platform>> {
    let parse = |text: &str| {
        text.parse().map_err(|e: dhow_image::Error| {
            Error::usage(format!("{e}; write OS/ARCH[/VARIANT], as linux/arm64/v8"))
        })
    };
    typed.filter(|text| !text.is_empty()).map(parse).transpose()
}

/// `--platform` of verbs that take several.
pub fn parse_all(typed: &[String]) -> Result<Vec<Platform>> {
    typed.iter().filter_map(|text| parse(Some(text)).transpose()).collect()
}

/// That an image is of one of the platforms asked for, if any was.
pub fn check_any(image: &Stored, typed: &str, wanted: &[Platform]) -> Result<()> {
    if wanted.iter().any(|wanted| image.platform.fits(wanted).is_some()) {
        return Ok(());
    }
    check(image, typed, wanted.first())
}

/// That an image is of the platform asked for, if one was. `typed` is its name for the words.
pub fn check(image: &Stored, typed: &str, wanted: Option<&Platform>) -> Result<()> {
    match wanted.filter(|wanted| image.platform.fits(wanted).is_none()) {
        None => Ok(()),
        Some(wanted) => Err(Error::not_found(mismatch(typed, &image.platform, wanted))),
    }
}

/// docker's words for a name that leads to another platform.
pub fn mismatch(typed: &str, have: &Platform, wanted: &Platform) -> String {
    format!(
        "image with reference {typed} was found but its platform ({have}) does not match the specified platform ({wanted})"
    )
}

/// Warns of an image that this machine's processor doesn't run, in docker's words, and names
/// the next step.
pub fn warn(image: &Stored, wanted: Option<&Platform>, out: &Output) {
    let have = &image.platform;
    // An image that says nothing of it is believed to be ours.
    if have.architecture.is_empty() || have.runs_here() {
        return;
    }
    if wanted.is_none() {
        let host = Platform::host();
        out.note(&format!(
            "WARNING: The requested image's platform ({have}) does not match the detected host platform ({host}) and no specific platform was requested"
        ));
    }
    let Some(name) = emulator(&have.architecture) else { return };
    if !Path::new("/proc/sys/fs/binfmt_misc").join(name).exists() {
        out.note(&format!(
            "dhow: its programs need an emulator, and {name} is not registered in /proc/sys/fs/binfmt_misc; install qemu-user-static (Debian's qemu-user-binfmt), or pull the image for this machine"
        ));
    }
}

/// Under which name qemu is registered for an architecture.
fn emulator(architecture: &str) -> Option<&'static str> {
    Some(match architecture {
        "amd64" => "qemu-x86_64",
        "386" => "qemu-i386",
        "arm64" => "qemu-aarch64",
        "arm" => "qemu-arm",
        "ppc64le" => "qemu-ppc64le",
        "s390x" => "qemu-s390x",
        "riscv64" => "qemu-riscv64",
        "mips64le" => "qemu-mips64el",
        "loong64" => "qemu-loongarch64",
        _ => return None,
    })
}
