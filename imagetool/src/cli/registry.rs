//! Verbs about what registries have, and who we are to them.

use super::verbs::verbs;
use crate::command;

verbs! {
    /// Registries.
    Registry {
        /// Log in to a registry
        Login(command::login::Login),
        /// Forget a login
        Logout(command::logout::Logout),
        /// Delete an image in its registry
        Delete(command::delete::Delete),
        /// List the tags of a repository, or of a docker archive
        ListTags(command::list_tags::ListTags),
        /// Look for images in a registry
        Search(command::search::Search),
        /// List what refers to an image: signatures, SBOMs, …
        Referrers(command::referrers::Referrers),
    }
}
