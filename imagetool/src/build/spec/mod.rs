//! A `build`'s flags: what was typed becomes what is meant, in buildx's words when it can't.
//! Both command lines read them here.

mod cache;
mod call;
mod csv;
mod flags;
mod limits;
mod names;
mod output;
mod secret;

use std::collections::BTreeMap;
use std::ffi::OsString;

use jiff::Timestamp;

use super::{Order, Wants};
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::recode::Kind;

pub use cache::{CacheFrom, CacheTo};
pub use call::{Asked, Call};
pub use flags::{LimitFlags, Typed};
pub use output::{ArchiveOutput, ImageOutput, Output};

/// The caller's environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// What is meant.
#[derive(Debug)]
pub struct Meant {
    /// What the build is asked for.
    pub order: Order,
    /// `--platform`: of several, the order names the one that matters most here.
    pub platforms: Vec<Platform>,
    /// Where its result goes.
    pub outputs: Vec<Output>,
    /// Where results of earlier builds may come from.
    pub cache_from: Vec<CacheFrom>,
    /// Where those of this build go.
    pub cache_to: Vec<CacheTo>,
    /// `--build-context`: names, and where each is.
    pub contexts: BTreeMap<String, String>,
    /// What to do instead of building.
    pub call: Option<Call>,
}

impl Meant {
    /// Whether an output goes to stdout.
    pub fn writes_stdout(&self) -> bool {
        self.outputs.iter().any(Output::is_stdout)
    }
}

impl Typed {
    /// What is meant by it; `terminal`: stdout is one.
    pub fn meant(&self, env: Env<'_>, terminal: bool) -> Result<Meant> {
        if self.no_cache && !self.no_cache_filter.is_empty() {
            return Err(refuse(
                "--no-cache and --no-cache-filter cannot currently be used together".into(),
            ));
        }
        self.check_attestations()?;
        let call = Call::new(&self.call, self.check)?;
        let outputs = output::outputs(&self.output, self.push, self.load, terminal)?;
        let mut cache_to = cache::to(&self.cache_to)?;
        let mut args = names::args(&self.build_arg, env)?;
        if args.get("BUILDKIT_INLINE_CACHE").is_some_and(|v| csv::switch(v) == Some(true))
            && !cache_to.contains(&CacheTo::Inline)
        {
            cache_to.push(CacheTo::Inline);
        }
        let epoch = self.epoch(&mut args, env)?;
        let mut allowed = names::allowed(&self.allow)?;
        if self.network == "host" {
            allowed.push("network.host".into());
        }
        let mut annotations = names::annotations(&self.annotation)?;
        annotations.extend(outputs.annotations);
        let tags = names::tags(&self.tag)?;
        check_names(&outputs.all, tags.is_empty())?;
        let platforms = names::platforms(self.platform.as_slice())?;
        if platforms.len() > 1 {
            check_several(&outputs.all, &cache_to)?;
        }
        let here = platforms.iter().find(|platform| platform.runs_here());
        let wants = outputs.all.iter().map(Output::wants).min_by_key(|wants| match wants {
            Wants::Image => 0,
            Wants::Files => 1,
            Wants::Nothing => 2,
        });
        let order = Order {
            target: self.target.clone(),
            args,
            platform: here.or(platforms.first()).cloned(),
            several: platforms.len() > 1,
            labels: names::labels(&self.label)?,
            names: tags,
            no_cache: self.no_cache,
            no_cache_filter: split(&self.no_cache_filter),
            pull: self.pull,
            network: self.network.clone(),
            hosts: names::hosts(&self.add_host)?,
            secrets: secret::secrets(&self.secret, env)?,
            agents: secret::agents(&self.ssh, env)?,
            allowed,
            limits: limits::limits(&self.limits)?,
            epoch,
            squash: self.squash,
            wants: wants.unwrap_or_default(),
            annotations,
        };
        Ok(Meant {
            order,
            platforms,
            outputs: outputs.all,
            cache_from: cache::from(&self.cache_from)?,
            cache_to,
            contexts: names::contexts(&self.build_context)?,
            call,
        })
    }

    /// What is refused unless it is turned off.
    fn check_attestations(&self) -> Result<()> {
        let off = |value: &str| csv::switch(value) == Some(false);
        let disabled = |text: &&String| !text.split(',').any(|part| part == "disabled=true");
        let asked = (self.attest.iter().find(disabled).cloned())
            .or_else(|| {
                self.provenance.clone().filter(|v| !off(v)).map(|v| format!("provenance={v}"))
            })
            .or_else(|| self.sbom.clone().filter(|v| !off(v)).map(|v| format!("sbom={v}")));
        if let Some(asked) = asked {
            return Err(refuse(format!(
                "attestation {asked} is not supported; the image is the same without, sign it with cosign, or scan it for an SBOM"
            )));
        }
        match self.builder.as_deref() {
            None | Some("" | "default") => Ok(()),
            Some(name) => Err(refuse(format!(
                "no builder {name:?} found: builders are services beside a daemon, and there is none; leave --builder away"
            ))),
        }
    }

    /// `--timestamp`, the argument SOURCE_DATE_EPOCH, or the caller's own variable; RUNs see it, too.
    fn epoch(
        &self,
        args: &mut BTreeMap<String, String>,
        env: Env<'_>,
    ) -> Result<Option<Timestamp>> {
        const NAME: &str = "SOURCE_DATE_EPOCH";
        let typed = self.timestamp.clone();
        let own = || env(NAME).map(|value| value.to_string_lossy().into_owned());
        let text = typed.or_else(|| args.get(NAME).cloned()).or_else(own);
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
        let bad = || {
            Error::usage(
                "--timestamp or SOURCE_DATE_EPOCH",
                &*text,
                "it is a number of seconds since 1970",
            )
        };
        let seconds: i64 = text.parse().map_err(|_| bad())?;
        let epoch = Timestamp::from_second(seconds).map_err(|_| bad())?;
        args.insert(NAME.to_owned(), text);
        Ok(Some(epoch))
    }
}

/// Where an image is pushed to has to be said.
fn check_names(outputs: &[Output], nameless: bool) -> Result<()> {
    let pushed = |output: &Output| matches!(output, Output::Image(image) if image.push && image.names.is_empty());
    if nameless && outputs.iter().any(pushed) {
        return Err(refuse("tag is needed when pushing to registry; give one with --tag".into()));
    }
    Ok(())
}

fn split(typed: &[String]) -> Vec<String> {
    let all = typed.iter().flat_map(|text| text.split(','));
    all.filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

/// What was typed makes no sense, in these words.
fn refuse(text: String) -> Error {
    Error::Conflict(text)
}

/// Where images of several platforms can't go together.
fn check_several(outputs: &[Output], cache_to: &[CacheTo]) -> Result<()> {
    for output in outputs {
        match output {
            Output::Archive(archive) if archive.kind == Kind::Docker => {
                return Err(refuse(
                    "docker exporter does not currently support exporting manifest lists; write type=oci, or build for one platform".into(),
                ));
            }
            Output::Tar(_) => {
                return Err(refuse(
                    "type=tar holds the files of one platform; write type=local, or build for each with its --platform".into(),
                ));
            }
            _ => {}
        }
    }
    if cache_to.iter().any(|to| *to != CacheTo::Inline) {
        return Err(refuse(
            "--cache-to keeps the cache of one platform; write type=inline, or build for each with its --platform".into(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(change: impl FnOnce(&mut Typed)) -> Result<Meant> {
        let mut typed = Typed::default();
        change(&mut typed);
        typed.meant(&|name| (name == "SOURCE_DATE_EPOCH").then(|| "7".into()), false)
    }

    #[test]
    fn the_epoch_is_the_flags_the_arguments_or_the_callers() {
        let epoch = |change: fn(&mut Typed)| {
            let order = meant(change).unwrap().order;
            (order.epoch.unwrap().as_second(), order.args["SOURCE_DATE_EPOCH"].clone())
        };
        assert_eq!(epoch(|_| {}), (7, "7".into()));
        assert_eq!(epoch(|t| t.build_arg = vec!["SOURCE_DATE_EPOCH=8".into()]), (8, "8".into()));
        assert_eq!(epoch(|t| t.timestamp = Some("9".into())), (9, "9".into()));
        assert!(meant(|t| t.timestamp = Some("noon".into())).is_err());
    }

    #[test]
    fn what_is_wanted_follows_from_the_outputs() {
        let wants = |output: &[&str]| {
            let output = output.iter().map(ToString::to_string).collect();
            meant(|t| t.output = output).unwrap().order.wants
        };
        assert_eq!(wants(&[]), Wants::Image);
        assert_eq!(wants(&["out"]), Wants::Files);
        assert_eq!(wants(&["out", "type=oci,dest=x.tar"]), Wants::Image);
        assert_eq!(wants(&["type=cacheonly"]), Wants::Nothing);
    }

    #[test]
    fn flags_that_fight_are_refused() {
        let told = |change: fn(&mut Typed)| meant(change).unwrap_err().to_string();
        assert!(told(|t| t.push = true).starts_with("tag is needed when pushing to registry"));
        let both = told(|t| (t.no_cache, t.no_cache_filter) = (true, vec!["a".into()]));
        assert!(both.contains("cannot currently be used together"));
        let host = meant(|t| t.network = "host".into()).unwrap().order;
        assert_eq!(host.allowed, ["network.host"]);
        let inline = meant(|t| t.build_arg = vec!["BUILDKIT_INLINE_CACHE=1".into()]).unwrap();
        assert_eq!(inline.cache_to, [CacheTo::Inline]);
    }
}
