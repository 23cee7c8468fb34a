//! A group of verbs: the enum that clap reads, and the way to the verb's own file.

/// `verbs! { /// about Name { /// help Verb(Flags), … } }`
macro_rules! verbs {
    ($(#[$about:meta])* $name:ident { $($(#[$help:meta])* $verb:ident($flags:ty),)* }) => {
        $(#[$about])*
        #[derive(clap::Subcommand)]
        #[allow(clippy::large_enum_variant)] // there is one of it
        pub enum $name {
            $($(#[$help])* $verb($flags),)*
        }
        impl $name {
            /// Does what was asked.
            pub fn run(self, cx: &$crate::context::Context) -> dhow_image::Result<()> {
                match self {
                    $(Self::$verb(verb) => verb.run(cx),)*
                }
            }
        }
    };
}

pub(crate) use verbs;
