//! Verbs on the machine.

use super::verbs::verbs;
use crate::command::system::{df, events, generate, info, prune, start, stop, unit};

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
        /// Show how much space what takes
        Df(df::Df),
        /// Print a systemd unit for a container
        Generate(generate::Generate),
        /// Remove what nothing uses
        Prune(prune::Prune),
        /// Start what its restart policy wants to run (at boot)
        Start(start::Start),
        /// Stop all containers; what its policy wants runs again after `system start`
        Stop(stop::Stop),
        /// Print a systemd unit that does both
        Unit(unit::Unit),
        ;
        #[command(flatten)]
        Verb(SystemVerb),
    }
}
