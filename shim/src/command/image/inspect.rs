//! `dhow image inspect`.

use clap::Args;

use crate::command::inspect::show;
use crate::exit::Exit;
use crate::host::Host;
use crate::making::{find_image, name_of, platform};
use crate::model::picture;
use crate::output::Output;

/// Show all about images, as JSON
#[derive(Debug, Args)]
pub struct Inspect {
    /// A Go template for each, or json
    #[arg(short, long, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// os/arch[/variant]
    #[arg(long)]
    pub platform: Option<String>,
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

impl Inspect {
    /// An array of what was found; errors for the rest.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let wanted = match platform::parse(self.platform.as_deref()) {
            Ok(wanted) => wanted,
            Err(e) => return out.end(Err(e)),
        };
        show(out, &self.images, self.format.as_deref(), |needle| {
            let store = host.images()?;
            let image = find_image(store, name_of(store, needle))?;
            platform::check(&image, needle, wanted.as_ref())?;
            picture::image(store, &image)
        })
    }
}
