//! Verbs about what is kept: the store, or a layout.

use super::verbs::verbs;
use crate::command;

verbs! {
    /// The store and layouts.
    Keep {
        /// List images
        #[command(visible_alias = "ls")]
        List(command::list::List),
        /// Give an image another name
        Tag(command::tag::Tag),
        /// Take a name away, and with the last one the image
        #[command(visible_alias = "rm")]
        Remove(command::remove::Remove),
        /// Check every digest, size and unpacked file, and repair
        Verify(command::verify::Verify),
        /// Remove what nothing needs: blobs, layers, what dead processes left
        Gc(command::gc::Gc),
        /// Remove images that have no name, or that nothing uses
        Prune(command::prune::Prune),
        /// Drop blobs that the unpacked layers can make again, bit for bit
        Compact(command::compact::Compact),
        /// Say what images take on the disk
        Du(command::du::Du),
        /// Mount an image's files for reading
        Mount(command::mount::Mount),
        /// Unmount an image
        #[command(visible_alias = "umount")]
        Unmount(command::unmount::Unmount),
    }
}
