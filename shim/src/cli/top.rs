//! The verbs that stand alone, and the groups.

use super::builder::BuilderGroup;
use super::container::{ContainerGroup, ContainerVerb};
use super::image::{ImageGroup, ImageVerb};
use super::network::NetworkGroup;
use super::registry::{ManifestGroup, RegistryVerb};
use super::system::{SystemGroup, SystemVerb};
use super::verbs::verbs;
use super::volume::VolumeGroup;
use crate::command::{container, image, inspect, system};

verbs! {
    /// Everything that can follow `dhow`.
    Verb {
        /// Remove containers
        Rm(container::rm::Rm),
        /// List containers
        Ps(container::ls::Ls),
        /// List images
        Images(image::ls::Ls),
        /// Remove images
        Rmi(image::rm::Rm),
        /// Show all about containers or images, as JSON
        Inspect(inspect::Inspect),
        /// Help of a command
        #[command(hide = true)]
        Help(super::help::HelpVerb),
        /// Print what completes commands, flags and names in a shell
        Completion(super::completion::Completion),
        #[command(name = "__complete", hide = true)]
        Complete(super::completion::Complete),
        /// Show versions
        Version(system::version::Version),
        ;
        #[command(flatten)]
        Container(ContainerVerb),
        #[command(flatten)]
        Image(ImageVerb),
        #[command(flatten)]
        System(SystemVerb),
        #[command(flatten)]
        Registry(RegistryVerb),
        /// Containers
        #[command(name = "container", subcommand)]
        Containers(ContainerGroup),
        /// Builds
        #[command(name = "builder", subcommand)]
        Builder(BuilderGroup),
        /// Builds, as buildx spells them
        #[command(name = "buildx", subcommand, hide = true)]
        Buildx(BuilderGroup),
        /// Images
        #[command(name = "image", subcommand)]
        ImageGroup(ImageGroup),
        /// Manifest lists
        #[command(name = "manifest", subcommand)]
        Manifests(ManifestGroup),
        /// Networks
        #[command(name = "network", subcommand)]
        Networks(NetworkGroup),
        /// Volumes
        #[command(name = "volume", subcommand)]
        Volumes(VolumeGroup),
        /// The machine
        #[command(name = "system", subcommand)]
        SystemGroup(SystemGroup),
    }
}

impl Verb {
    /// Whether it works with what containers consist of.
    pub(super) fn enters(&self) -> bool {
        !matches!(self, Self::Help(_) | Self::Completion(_) | Self::Version(_) | Self::Registry(_))
    }

    /// Whether this is `run` or `create`, whose own failures are 125.
    pub(super) fn makes_containers(&self) -> bool {
        let (Self::Container(verb) | Self::Containers(ContainerGroup::Verb(verb))) = self else {
            return false;
        };
        matches!(verb, ContainerVerb::Run(_) | ContainerVerb::Create(_))
    }
}
