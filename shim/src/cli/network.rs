//! Verbs on networks.

use super::verbs::verbs;
use crate::command::network::{connect, create, disconnect, inspect, ls, prune, reload, rm};

verbs! {
    /// All of `network`.
    NetworkGroup {
        /// Connect containers to networks
        Connect(connect::Connect),
        /// Make networks
        Create(create::Create),
        /// Disconnect containers from networks
        Disconnect(disconnect::Disconnect),
        /// List networks
        #[command(visible_alias = "list")]
        Ls(ls::Ls),
        /// Show all about networks, as JSON
        Inspect(inspect::Inspect),
        /// Remove networks that no container has an address in
        Prune(prune::Prune),
        /// Lay out devices and rules anew, after another firewall has swept them away
        Reload(reload::Reload),
        /// Remove networks
        #[command(visible_alias = "remove")]
        Rm(rm::Rm),
    }
}
