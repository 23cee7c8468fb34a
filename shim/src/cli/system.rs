//! Verbs on the machine.

use super::verbs::verbs;
use crate::command::system::info;

verbs! {
    /// Verbs that stand alone and in `system`.
    SystemVerb {
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
