//! Verbs on networks.

use super::verbs::verbs;
use crate::command::network::{create, inspect, ls, prune, rm};

verbs! {
    /// All of `network`.
    NetworkGroup {
        /// Make networks
        Create(create::Create),
        /// List networks
        #[command(visible_alias = "list")]
        Ls(ls::Ls),
        /// Show all about networks, as JSON
        Inspect(inspect::Inspect),
        /// Remove networks that no container has an address in
        Prune(prune::Prune),
        /// Remove networks
        #[command(visible_alias = "remove")]
        Rm(rm::Rm),
    }
}
