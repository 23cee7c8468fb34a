//! Verbs on registries, and lists of images there.

use super::verbs::verbs;
use crate::command::manifest::{annotate, create, inspect, push, rm};
use crate::command::registry::{login, logout, search};

verbs! {
    /// Verbs that stand alone.
    RegistryVerb {
        /// Log in to a registry
        Login(login::Login),
        /// Log out from a registry
        Logout(logout::Logout),
        /// Look for images on Docker Hub, or in another registry
        Search(search::Search),
    }
}

verbs! {
    /// Manifest lists.
    ManifestGroup {
        /// Say more about an image of a local manifest list
        Annotate(annotate::Annotate),
        /// Make a local manifest list, to be annotated and pushed
        Create(create::Create),
        /// Show a manifest or a manifest list
        Inspect(inspect::Inspect),
        /// Bring a manifest list to a registry
        Push(push::Push),
        /// Forget local manifest lists
        Rm(rm::Rm),
    }
}
