//! Exit codes, decided here and nowhere else.

use crate::error::Kind;

/// A process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exit(pub u8);

impl Exit {
    /// All went well.
    pub const OK: Self = Self(0);
    /// A verb failed.
    pub const FAILED: Self = Self(1);
    /// `inspect`, `version`, `info`: the template makes no sense.
    pub const TEMPLATE: Self = Self(64);
    /// `run`, `create`, `start -a`, `exec`: the engine failed before the container's code ran.
    pub const ENGINE: Self = Self(125);
    /// The container's command can't be executed.
    pub const NOT_EXECUTABLE: Self = Self(126);
    /// The container's command was not found.
    pub const NO_COMMAND: Self = Self(127);

    /// docker's code for a `--format` of `events` that can't be read (EX_USAGE).
    pub const FORMAT: Self = Self(64);

    /// The code of a command that was ended by signal `n`.
    pub const fn signal(n: i32) -> Self {
        Self(128_u8.wrapping_add(n as u8))
    }

    /// The container's own code.
    pub const fn container(code: i32) -> Self {
        Self((code & 0xff) as u8)
    }

    /// The code of a failure in a verb that runs the container's code (`run`, `create`, `exec`).
    pub const fn of_run(kind: Kind) -> Self {
        match kind {
            Kind::NotExecutable => Self::NOT_EXECUTABLE,
            Kind::NoCommand => Self::NO_COMMAND,
            _ => Self::ENGINE,
        }
    }

    /// The code of a failure in any other verb.
    pub const fn of_verb(kind: Kind) -> Self {
        match kind {
            Kind::Flag => Self::ENGINE,
            Kind::Template => Self::TEMPLATE,
            _ => Self::FAILED,
        }
    }

    /// The worse of the two: any failure beats success, the first failure stays.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == Self::OK { other } else { self }
    }
}

/// What a foreign runtime's message means; the one place that reads such text.
/// dhow looks for argv\[0\] itself, so this decides only for what lies in mounts.
pub fn kind_of_runtime_text(text: &str) -> Kind {
    let text = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| text.contains(w));
    if has(&["chdir to "]) && has(&["no such file or directory"]) {
        return Kind::NoCommand; // `exec -w` of what is not there
    }
    // A missing device, rootfs or mount source says "no such file" as well: only exec's counts.
    if !has(&["exec", "executable"]) {
        return Kind::Engine;
    }
    if has(&["not found in $path", "not found in path", "no such file or directory"]) {
        Kind::NoCommand
    } else if has(&["permission denied", "is a directory", "exec format error", "not executable"]) {
        Kind::NotExecutable
    } else {
        Kind::Engine
    }
}

/// What to do about a runtime's message, where that can be said.
pub fn hint_of_runtime_text(text: &str) -> &'static str {
    let text = text.to_ascii_lowercase();
    if text.contains("exec format error") {
        "; the program is for another processor, or a script without #!: \
         pull the image with --platform, or have qemu's binfmt_misc"
    } else if text.contains("no space left on device") {
        "; 'dhow system prune' frees what nobody uses"
    } else {
        ""
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_tells_missing_command_from_engine_failure() {
        assert_eq!(Exit::of_run(Kind::NoCommand), Exit(127));
        assert_eq!(Exit::of_run(Kind::NotExecutable), Exit(126));
        assert_eq!(Exit::of_run(Kind::NotFound), Exit(125));
        assert_eq!(Exit::of_verb(Kind::NotFound), Exit(1));
        assert_eq!(Exit::signal(9), Exit(137));
    }

    #[test]
    fn runtimes_wordings_of_a_missing_command() {
        for (text, kind) in [
            (
                "container_linux.go: exec: \"x\": executable file not found in $PATH: unknown",
                Kind::NoCommand,
            ),
            ("executable file `x` not found in $PATH: No such file or directory", Kind::NoCommand),
            ("exec /x: exec format error", Kind::NotExecutable),
            ("exec: \"/etc\": permission denied", Kind::NotExecutable),
            ("chdir to cwd (\"/x\") failed: no such file or directory", Kind::NoCommand),
            ("mount /a: no such file or directory", Kind::Engine),
        ] {
            assert_eq!(kind_of_runtime_text(text), kind, "{text}");
        }
    }
}
