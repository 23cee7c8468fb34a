//! Verbs on registries, and lists of images there.

use super::verbs::verbs;
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
