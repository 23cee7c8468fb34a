//! Verbs on the machine.

use super::verbs::verbs;
use crate::command::system::{events, info};

verbs! {
    /// Verbs that stand alone and in `system`.
    SystemVerb {
        /// Show what happens, as it happens
        Events(events::Events),
        /// Show what dhow finds on this machine
        Info(info::Info),
    }
}

verbs! {
    /// What stands in the group alone.
    SystemGroup {
        #[command(flatten)]
        Verb(SystemVerb),
    }
}
