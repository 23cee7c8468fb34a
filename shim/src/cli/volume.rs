//! Verbs on volumes.

use super::verbs::verbs;
use crate::command::volume::{create, inspect, ls, prune, rm};

verbs! {
    /// All of `volume`.
    VolumeGroup {
        /// Make volumes
        Create(create::Create),
        /// List volumes
        #[command(visible_alias = "list")]
        Ls(ls::Ls),
        /// Show all about volumes, as JSON
        Inspect(inspect::Inspect),
        /// Remove volumes that no container holds
        Prune(prune::Prune),
        /// Remove volumes
        #[command(visible_alias = "remove")]
        Rm(rm::Rm),
    }
}
