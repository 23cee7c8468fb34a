//! How a group of verbs is declared: one line a verb, dispatch included.

use clap::{ArgMatches, Args, Command, FromArgMatches};

/// An enum for clap whose variants are verbs and, after a semicolon, further groups; `run` hands
/// on to the one that was typed.
macro_rules! verbs {
    (
        $(#[$about:meta])* $name:ident {
            $($(#[$help:meta])* $verb:ident($flags:ty),)*
            $(; $($(#[$more:meta])* $group:ident($inner:ty),)*)?
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, clap::Subcommand)]
        #[allow(clippy::large_enum_variant)] // there is one of it
        pub(super) enum $name {
            $($(#[$help])* $verb($crate::cli::verbs::Lazy<$flags>),)*
            $($($(#[$more])* $group($inner),)*)?
        }
        impl $name {
            /// Runs the verb that was typed.
            pub(super) fn run(
                self,
                host: &crate::host::Host,
                out: &mut crate::output::Output,
            ) -> crate::exit::Exit {
                match self {
                    $(Self::$verb(verb) => verb.0.run(host, out),)*
                    $($(Self::$group(verb) => verb.run(host, out),)*)?
                }
            }
        }
    };
}

pub(super) use verbs;

/// A verb whose flags are defined when it is the one that was typed: defining all flags of all
/// verbs would take longer than most verbs do.
#[derive(Debug)]
pub struct Lazy<T>(pub T);

impl<T: FromArgMatches> FromArgMatches for Lazy<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches(matches).map(Self)
    }
    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl<T: Args> Args for Lazy<T> {
    fn augment_args(command: Command) -> Command {
        command.defer(|command| {
            // The group's words for the verb stay.
            let about = command.get_about().cloned();
            super::switch::with_values(T::augment_args(command)).about(about.unwrap_or_default())
        })
    }
    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
