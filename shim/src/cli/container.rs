//! Verbs on containers.

use super::verbs::verbs;
use crate::command::container::{
    attach, commit, cp, create, diff, exec, export, inspect, kill, logs, ls, pause, port, prune,
    rename, restart, rm, run, start, stats, stop, top, unpause, update, wait,
};

verbs! {
    /// Verbs that stand alone and in `container`.
    ContainerVerb {
        /// Make a container of an image and start it
        Run(Box<run::Run>),
        /// Make a container without starting it
        Create(Box<create::Create>),
        /// Start stopped containers
        Start(start::Start),
        /// Stop containers: their stop signal, then SIGKILL
        Stop(stop::Stop),
        /// Stop containers and start them again
        Restart(restart::Restart),
        /// Send a signal to containers
        Kill(kill::Kill),
        /// Show a container's output
        Logs(logs::Logs),
        /// Run a command in a running container
        Exec(exec::Exec),
        /// Join a running container's streams
        Attach(attach::Attach),
        /// Wait until containers end and print their exit codes
        Wait(wait::Wait),
        /// Give a container another name
        Rename(rename::Rename),
        /// Freeze all processes of containers
        Pause(pause::Pause),
        /// Thaw all processes of containers
        Unpause(unpause::Unpause),
        /// Show which ports of the host lead to a container's
        Port(port::Port),
        /// Change limits and restart policy of containers, running or not
        Update(Box<update::Update>),
        /// Show a container's processes
        Top(top::Top),
        /// Show what containers use: CPU, memory, network, block I/O
        Stats(stats::Stats),
        /// Copy files between a container and the host
        Cp(cp::Cp),
        /// Create a new image from a container's changes
        Commit(commit::Commit),
        /// Show what a container has changed of its image's files
        Diff(diff::Diff),
        /// Write a container's files as a tar
        Export(export::Export),
    }
}

verbs! {
    /// What is spelled otherwise in the group, or stands there alone.
    ContainerGroup {
        /// Remove containers
        #[command(visible_alias = "remove")]
        Rm(rm::Rm),
        /// List containers
        #[command(visible_aliases = ["list", "ps"])]
        Ls(ls::Ls),
        /// Show all about containers, as JSON
        Inspect(inspect::Inspect),
        /// Remove all stopped containers
        Prune(prune::Prune),
        ;
        #[command(flatten)]
        Verb(ContainerVerb),
    }
}
