//! `dhow version`.

use clap::Args;
use serde_json::{Value, json};

use crate::error::Result;
use crate::exit::Exit;
use crate::host::{Host, RuntimeProgram};
use crate::machine;
use crate::output::{Output, compact};

/// The version of docker's API whose shapes `inspect` and its kin have.
pub const API: &str = "1.51";
const OLDEST_API: &str = "1.24";

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
        let asked = self.format.as_deref().is_none_or(tells_of_runtime);
        let value = value(asked.then(|| runtime(host)).transpose()?);
        match self.format.as_deref() {
            Some("json") => Ok(compact(&value)),
            None | Some("") => Ok(plain(&value)),
            Some(text) => Ok(super::template(text)?.render(&with_go_names(value))?),
        }
    }
}

/// The commit this was built from, when it was told.
pub fn commit() -> &'static str {
    option_env!("DHOW_COMMIT").unwrap_or_default()
}

/// docker's keys. There is no Go here, and no time of the build: the same source gives the same bytes.
fn value(runtime: Option<RuntimeVersion>) -> Value {
    let version = env!("CARGO_PKG_VERSION");
    let (kernel, arch) = (machine::kernel(), machine::arch());
    let runtime = runtime.unwrap_or_default();
    json!({
        "Client": {
            "Version": version, "ApiVersion": API, "DefaultAPIVersion": API,
            "GitCommit": commit(), "GoVersion": "", "Os": "linux", "Arch": arch,
            "BuildTime": "", "Context": "default",
        },
        "Server": {
            "Platform": {"Name": "dhow, no daemon"},
            "Components": [
                {"Name": "Engine", "Version": version, "Details": {
                    "ApiVersion": API, "Arch": arch, "BuildTime": "", "Experimental": "false",
                    "GitCommit": commit(), "GoVersion": "", "KernelVersion": kernel,
                    "MinAPIVersion": OLDEST_API, "Os": "linux",
                }},
                {"Name": runtime.name, "Version": runtime.version, "Details": {"GitCommit": runtime.commit}},
            ],
            "Version": version, "ApiVersion": API, "MinAPIVersion": OLDEST_API,
            "GitCommit": commit(), "GoVersion": "", "Os": "linux", "Arch": arch,
            "KernelVersion": kernel, "BuildTime": "",
        },
    })
}

/// Whether a format may show the runtime, which is asked by running it: not one that has
/// plain fields alone, `{{.Client.Version}}`.
fn tells_of_runtime(format: &str) -> bool {
    let plain = |action: &str| {
        let field = action.split("}}").next().unwrap_or_default();
        let part = field.strip_prefix(".Client.").or_else(|| field.strip_prefix(".Server."));
        part.is_some_and(|part| {
            part != "Components" && part.bytes().all(|b| b.is_ascii_alphanumeric())
        })
    };
    let mut actions = format.split("{{").skip(1).peekable();
    actions.peek().is_none() || !actions.all(plain)
}

/// Templates name fields as Go does, which for one key is not as JSON has it.
fn with_go_names(mut value: Value) -> Value {
    for part in ["Client", "Server"] {
        let api = value[part]["ApiVersion"].clone();
        value[part]["APIVersion"] = api;
    }
    value
}

fn plain(value: &Value) -> String {
    let (client, server) = (&value["Client"], &value["Server"]);
    let text = |of: &Value, key: &str| of[key].as_str().unwrap_or_default().to_owned();
    let place = format!("{}/{}", text(client, "Os"), text(client, "Arch"));
    let oldest = text(server, "MinAPIVersion");
    let runtime = &server["Components"][1];
    let mut lines = vec!["Client:".to_owned()];
    let mut row = |indent: &str, name: &str, text: String| {
        if !text.is_empty() {
            lines.push(format!("{indent}{:<18} {text}", format!("{name}:")));
        }
    };
    row(" ", "Version", text(client, "Version"));
    row(" ", "API version", API.to_owned());
    row(" ", "Git commit", text(client, "GitCommit"));
    row(" ", "OS/Arch", place.clone());
    row(" ", "Context", "default".to_owned());
    lines.extend([String::new(), "Server: dhow, no daemon".to_owned(), " Engine:".to_owned()]);
    let mut row = |name: &str, text: String| {
        if !text.is_empty() {
            lines.push(format!("  {:<17} {text}", format!("{name}:")));
        }
    };
    row("Version", text(server, "Version"));
    row("API version", format!("{API} (minimum version {oldest})"));
    row("Git commit", text(server, "GitCommit"));
    row("OS/Arch", place);
    row("Experimental", "false".to_owned());
    lines.push(format!(" {}:", text(runtime, "Name")));
    lines.push(format!("  {:<17} {}", "Version:", text(runtime, "Version")));
    lines.push(format!("  {:<17} {}", "GitCommit:", text(&runtime["Details"], "GitCommit")));
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

/// What the default runtime says of itself.
#[derive(Default)]
pub struct RuntimeVersion {
    /// Its program's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The commit it was built from.
    pub commit: String,
}

/// `RUNTIME --version`, read as runc and crun word it.
pub fn runtime(host: &Host) -> Result<RuntimeVersion> {
    let RuntimeProgram { name, path, .. } = host.runtime_for(None)?;
    let output = std::process::Command::new(path).arg("--version").output();
    let Ok(output) = output else {
        return Ok(RuntimeVersion { name, version: "not found".to_owned(), commit: String::new() });
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = text.lines().next().unwrap_or_default();
    let version = first.rsplit(' ').next().unwrap_or_default().to_owned();
    let commit = text.lines().find_map(|line| line.strip_prefix("commit: ")).unwrap_or_default();
    Ok(RuntimeVersion { name, version, commit: commit.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_is_asked_when_it_may_be_shown() {
        for format in ["{{.Client.Version}}", "v {{.Server.Version}} {{.Client.APIVersion}}"] {
            assert!(!tells_of_runtime(format), "{format}");
        }
        for format in ["json", "{{json .}}", "{{.}}", "{{.Server}}", "{{.Server.Components}}", "{{"]
        {
            assert!(tells_of_runtime(format), "{format}");
        }
        assert!(tells_of_runtime(
            "{{.Client.Version}}{{range .Server.Components}}{{.Name}}{{end}}"
        ));
    }
}
