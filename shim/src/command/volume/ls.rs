//! `dhow volume ls`.

use clap::Args;
use serde_json::{Map, Value};

use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::output::{Column, Format, Output, listing};

/// List volumes
#[derive(Debug, Args)]
pub struct Ls {
    /// A Go template a row, table TEMPLATE, or json
    #[arg(long, value_name = "TEMPLATE")]
    pub format: Option<String>,
    /// Names only
    #[arg(short, long)]
    pub quiet: bool,
}

const COLUMNS: [Column; 2] = [("DRIVER", "Driver"), ("VOLUME NAME", "Name")];
const MORE: [Column; 2] = [("MOUNTPOINT", "Mountpoint"), ("SCOPE", "Scope")];

impl Ls {
    /// A row a volume, by name.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.text(host).map(|text| out.text(&text));
        out.end(result)
    }

    fn text(&self, host: &Host) -> Result<String> {
        let format = Format::of(self.format.as_deref(), self.quiet)?;
        let row = |volume: crate::store::Volume| -> Map<String, Value> {
            let fields = [
                ("Driver", "local".to_owned()),
                ("Labels", String::new()),
                ("Mountpoint", volume.data.display().to_string()),
                ("Name", volume.name),
                ("Scope", "local".to_owned()),
            ];
            fields.into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect()
        };
        let rows: Vec<_> = host.volumes.list().into_iter().map(row).collect();
        listing(&rows, &format, &COLUMNS, &[COLUMNS, MORE].concat(), "Name")
    }
}
