//! Verbs on registries, and lists of images there.

use super::verbs::verbs;

verbs! {
    /// Verbs that stand alone.
    RegistryVerb {}
}
