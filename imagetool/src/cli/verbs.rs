//! A group of verbs: the enum that clap reads, and the way to the verb's own file.

use clap::{ArgMatches, Args, Command, FromArgMatches};

/// `verbs! { /// about Name { /// help Verb(Flags), … } }`
macro_rules! verbs {
    ($(#[$about:meta])* $name:ident { $($(#[$help:meta])* $verb:ident($flags:ty),)* }) => {
        $(#[$about])*
        #[derive(clap::Subcommand)]
        #[allow(clippy::large_enum_variant)] // there is one of it
        pub enum $name {
            $($(#[$help])* $verb($crate::cli::verbs::Lazy<$flags>),)*
        }
        impl $name {
            /// Does what was asked.
            pub fn run(self, cx: &$crate::context::Context) -> dhow_image::Result<()> {
                match self {
                    $(Self::$verb(verb) => verb.0.run(cx),)*
                }
            }
        }
    };
}

pub(crate) use verbs;

/// A verb whose flags are defined when it is the one that was typed: defining all flags of all
/// verbs takes longer than most verbs do.
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
            // The flags' struct has words of its own; the verb's stay.
            let about = command.get_about().cloned();
            super::go::with_values(T::augment_args(command)).about(about.unwrap_or_default())
        })
    }
    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
