//! Verbs of builds, as docker and buildx group them.

use super::verbs::verbs;
use crate::command::builder::{build, du, prune};

verbs! {
    /// What stands in `builder`, and in `buildx`.
    BuilderGroup {
        /// Build an image from a Dockerfile
        #[command(alias = "b")]
        Build(build::Build),
        /// Remove what earlier builds have left
        Prune(prune::Prune),
        /// Show how much space what of earlier builds takes
        Du(du::Du),
    }
}
