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
    /// `run`, `create`, `start -a`, `exec`: the engine failed before the container's code ran.
    pub const ENGINE: Self = Self(125);
    /// The container's command can't be executed.
    pub const NOT_EXECUTABLE: Self = Self(126);
    /// The container's command was not found.
    pub const NO_COMMAND: Self = Self(127);

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
    pub const fn of_verb(_kind: Kind) -> Self {
        Self::FAILED
    }

    /// The worse of the two: any failure beats success, the first failure stays.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == Self::OK { other } else { self }
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
}
