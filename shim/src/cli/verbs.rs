//! How a group of verbs is declared: one line a verb, dispatch included.

/// An enum for clap whose variants are verbs or further groups; `run` hands on to the one that was typed.
macro_rules! verbs {
    ($(#[$about:meta])* $name:ident { $($(#[$help:meta])* $verb:ident($flags:ty),)* }) => {
        $(#[$about])*
        #[derive(Debug, clap::Subcommand)]
        pub(super) enum $name {
            $($(#[$help])* $verb($flags),)*
        }
        impl $name {
            /// Runs the verb that was typed.
            pub(super) fn run(
                self,
                host: &crate::host::Host,
                out: &mut crate::output::Output,
            ) -> crate::exit::Exit {
                let _ = (&host, &out); // a group may be empty
                match self {
                    $(Self::$verb(verb) => verb.run(host, out),)*
                }
            }
        }
    };
}

pub(super) use verbs;
