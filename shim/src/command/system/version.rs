//! `dhow version`.

use clap::Args;
use serde_json::{Value, json};

use crate::error::Result;
use crate::exit::Exit;
use crate::host::Host;
use crate::output::{Output, Template};

/// Show versions
#[derive(Debug, Args)]
pub struct Version {
    /// A Go template, or json
    #[arg(short, long, value_name = "TEMPLATE")]
    pub format: Option<String>,
}

impl Version {
    /// docker's two parts, of one program.
    pub fn run(self, host: &Host, out: &mut Output) -> Exit {
        let result = self.text(host).map(|text| out.line(&text));
        out.end(result)
    }

    fn text(&self, host: &Host) -> Result<String> {
        let value = value(host);
        match self.format.as_deref() {
            Some("json") => Ok(value.to_string()),
            Some(template) => Template::parse(template)?.render(&value),
            None => {
                let client = &value["Client"];
                let text = |key: &str| client[key].as_str().unwrap_or_default().to_owned();
                let runtime = &value["Server"]["Components"][1];
                Ok(format!(
                    "dhow\n Version:    {}\n OS/Arch:    {}/{}\n Kernel:     {}\n Runtime:    {} ({})",
                    text("Version"),
                    text("Os"),
                    text("Arch"),
                    value["Server"]["KernelVersion"].as_str().unwrap_or_default(),
                    host.default_runtime().display(),
                    runtime["Version"].as_str().unwrap_or_default(),
                ))
            }
        }
    }
}

/// Go's name of this machine's architecture.
pub fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn value(host: &Host) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let kernel = kernel();
    let both = json!({"Version": version, "ApiVersion": "1.52", "Os": "linux", "Arch": arch()});
    let mut server = both.clone();
    server["KernelVersion"] = kernel.into();
    server["Components"] = json!([
        {"Name": "dhow", "Version": version},
        {"Name": "runtime", "Version": runtime(host)},
    ]);
    json!({"Client": both, "Server": server})
}

/// The running kernel's release.
pub fn kernel() -> String {
    let name = nix::sys::utsname::uname();
    name.map(|u| u.release().to_string_lossy().into_owned()).unwrap_or_default()
}

/// The first line of `RUNTIME --version`.
fn runtime(host: &Host) -> String {
    let output = std::process::Command::new(host.default_runtime()).arg("--version").output();
    let Ok(output) = output else { return "not found".to_owned() };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().unwrap_or("unknown").to_owned()
}
